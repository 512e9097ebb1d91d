// Files of weights that are not those of the configured model. If these fail, a training starts from something else
// than what its file says, without a word.
#include <fstream>
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/files/safetensors.h"
#include "runtime/trainer.h"
#include "tests/runtime/local_ranks.h"
#include "tests/runtime/small_training_job.h"

namespace smp {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class InitialWeights : public ::testing::Test {
  protected:
    InitialWeights() {
        const auto& model = *job_.model.spec;
        for (int module = 0; module < model.module_count(); ++module)
            for (const auto& parameter : model.parameters(module, 1, 0))
                if (parameter.tied_to.empty())
                    tensors_["transformer." + parameter.name] = drawn(parameter.global_shape);
    }

    static at::Tensor drawn(const std::vector<std::int64_t>& shape) { return at::randn(shape) * 0.02; }

    /// Writes the tensors and, where it is not empty, a config.json; starts a trainer on them, and takes its values of
    /// the embedding and its warnings. The reason of its refusal; empty: it starts.
    std::string start(const std::string& config = "", int stages = 1) {
        std::vector<runtime::SafetensorsEntry> entries;
        for (const auto& [name, tensor] : tensors_)
            entries.push_back({.name = name,
                               .dtype = runtime::SafetensorsType::F32,
                               .shape = tensor.sizes().vec(),
                               .bytes = std::as_bytes(std::span(tensor.const_data_ptr<float>(),
                                                                static_cast<std::size_t>(tensor.numel())))});
        const auto folder = folder_.path() / "weights";
        std::filesystem::create_directories(folder);
        runtime::write_safetensors(folder / "model.safetensors", entries);
        std::filesystem::remove(folder / "config.json");
        if (!config.empty()) std::ofstream(folder / "config.json") << config;

        runtime::Job job = job_;
        job.training.initial_weights = folder.string();
        job.parallel.pipeline_parallel_degree = stages;
        std::string reason;
        testing::on_local_ranks(stages, [&](comms::Communicator& world) {
            try {
                runtime::Trainer trainer(job, world);
                const at::Tensor embedding = trainer.gather_value("wte.weight");
                if (world.rank() != 0) return;
                embedding_ = embedding;
                warnings_ = trainer.warnings();
            } catch (const std::exception& error) {
                if (world.rank() == 0) reason = error.what();
            }
        });
        return reason;
    }

    testing::ScratchFolder folder_;
    runtime::Job job_ = testing::small_training_job(folder_);
    std::map<std::string, at::Tensor> tensors_;
    at::Tensor embedding_;
    std::vector<std::string> warnings_;
};

TEST_F(InitialWeights, OfAFolderThatDescribesAnotherModelAreRefusedWithBothValues) {
    EXPECT_EQ(start(R"({"model_type": "gpt2", "n_head": 4, "n_layer": 4, "n_inner": null, "layer_norm_epsilon": 1e-5,
                        "activation_function": "gelu_new", "vocab_size": 97, "resid_pdrop": 0.1})"),
              "");
    EXPECT_EQ(start(R"({"n_inner": 128})"), "");
    EXPECT_THAT(start(R"({"n_head": 8})"),
                AllOf(HasSubstr("config.json"), HasSubstr("n_head is 8 there"), HasSubstr("model.n_head is 4 here")));
    EXPECT_THAT(start(R"({"layer_norm_epsilon": 1e-6})"), AllOf(HasSubstr("1e-06 there"), HasSubstr("1e-05 here")));
    EXPECT_THAT(start(R"({"activation_function": "gelu"})"), HasSubstr("activation_function is \"gelu\" there"));
    EXPECT_THAT(start(R"({"scale_attn_by_inverse_layer_idx": true})"),
                HasSubstr("scale_attn_by_inverse_layer_idx is true there, and only false"));
    EXPECT_THAT(start(R"({"model_type": "llama", "n_head": 2})"),
                AllOf(HasSubstr("\"llama\" there"), HasSubstr("n_head is 2 there")));
    EXPECT_THAT(start("{"), HasSubstr("it is no JSON object"));
    // Tied or not, whichever tensors lie there: the values may be equal at first, and training would part them.
    EXPECT_EQ(start(R"({"tie_word_embeddings": true})"), "");
    EXPECT_THAT(start(R"({"tie_word_embeddings": false})"),
                HasSubstr("tie_word_embeddings is false there, and model.tie_word_embeddings is true here"));
    testing::change_model(job_, [](auto& model) { model.tie_word_embeddings = false; });
    tensors_["lm_head.weight"] = tensors_.at("transformer.wte.weight").clone();
    EXPECT_EQ(start(R"({"tie_word_embeddings": false})"), "");
    EXPECT_THAT(start(R"({"tie_word_embeddings": true})"),
                HasSubstr("tie_word_embeddings is true there, and model.tie_word_embeddings is false here"));
}

TEST_F(InitialWeights, WithTensorsThatTheModelHasNoPlaceForAreRefused) {
    tensors_["transformer.h.4.ln_1.weight"] = drawn({32});
    EXPECT_THAT(start(),
                AllOf(HasSubstr("no place for transformer.h.4.ln_1.weight,"), HasSubstr("make `model` agree")));
    tensors_["h.5.ln_1.weight"] = tensors_["h.6.ln_1.weight"] = tensors_["h.7.ln_1.weight"] = drawn({32});
    EXPECT_THAT(start("", 2), HasSubstr("h.5.ln_1.weight, h.6.ln_1.weight, h.7.ln_1.weight and 1 more"));
}

TEST_F(InitialWeights, WithTensorsOfSomethingElseAreTakenAndSaySo) {
    tensors_["score.weight"] = drawn({2, 32});
    EXPECT_EQ(start(), "");
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("score.weight")));
}

TEST_F(InitialWeights, WithTheConstantsOfOldCheckpointsAreTaken) {
    tensors_["transformer.h.0.attn.bias"] = at::ones({1, 1, 40, 40});
    tensors_["h.1.attn.masked_bias"] = at::full({1}, -1e4F);
    EXPECT_EQ(start(), "");
    EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(InitialWeights, OfATiedModelMayHaveEitherNameButNotTwoValues) {
    const at::Tensor embedding = tensors_.at("transformer.wte.weight");
    for (const int stages : {1, 2}) {
        tensors_["lm_head.weight"] = embedding.clone();
        EXPECT_EQ(start("", stages), "");
        tensors_["lm_head.weight"][96][31] += 1;
        EXPECT_THAT(start("", stages), AllOf(HasSubstr("lm_head.weight differs from transformer.wte.weight"),
                                             HasSubstr("model.tie_word_embeddings = false")));
        tensors_["lm_head.weight"] = embedding;
        tensors_.erase("transformer.wte.weight");
        EXPECT_EQ(start("", stages), "");
        EXPECT_TRUE(embedding_.equal(embedding));
        tensors_["transformer.wte.weight"] = embedding;
        tensors_.erase("lm_head.weight");
    }
    tensors_.erase("transformer.wte.weight");
    EXPECT_THAT(start(), HasSubstr("has no tensor transformer.wte.weight or wte.weight"));
}

}  // namespace
}  // namespace smp

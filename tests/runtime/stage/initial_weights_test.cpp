// Files of weights that are not those of the configured model. If these fail, a training starts from something else
// than what its file says, without a word.
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <fmt/format.h>
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
        const auto folder = write_weights();
        std::filesystem::remove(folder / "config.json");
        if (!config.empty()) std::ofstream(folder / "config.json") << config;
        return start_from(folder, stages);
    }

    /// A folder with the tensors alone.
    std::filesystem::path write_weights() {
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
        return folder;
    }

    std::string start_from(const std::filesystem::path& path, int stages = 1) {
        runtime::Job job = job_;
        job.training.initial_weights = path.string();
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

    /// The tensors under other names.
    void rename(const std::function<std::string(const std::string&)>& name_of) {
        std::map<std::string, at::Tensor> renamed;
        for (const auto& [name, tensor] : tensors_) renamed[name_of(name)] = tensor;
        tensors_ = std::move(renamed);
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
    EXPECT_THAT(start("{\"a\": " + std::string(100'000, '[') + std::string(100'000, ']') + "}"),
                HasSubstr("nests more than 32 objects and lists"));
    EXPECT_THAT(start(std::string(2'000'000, ' ') + "{}"), HasSubstr("is 2000002 bytes long"));
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

TEST_F(InitialWeights, ThatAreNotFiniteAreRefusedWithTensorElementAndFile) {
    const at::Tensor& bias = tensors_.at("transformer.h.3.mlp.c_fc.bias");
    const float before = bias[5].item<float>();
    for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}) {
        bias[5] = value;
        for (const bool half : {false, true}) {
            job_.parallel.bf16 = half;
            EXPECT_THAT(start("", 2),
                        AllOf(HasSubstr("model.safetensors\": transformer.h.3.mlp.c_fc.bias has element 5 of"),
                              HasSubstr(fmt::format(" {};", value))));
        }
    }
    bias[5] = before;
    EXPECT_EQ(start("", 2), "");
}

TEST_F(InitialWeights, ThatOverflowInTheTrainingTypeAreRefused) {
    const at::Tensor& weight = tensors_.at("transformer.h.1.ln_1.weight");
    const float before = weight[2].item<float>();
    weight[2] = 65520;  // rounds to what is beyond fp16's 65504
    EXPECT_EQ(start(), "");
    job_.parallel.bf16 = true;
    EXPECT_EQ(start(), "");
    job_.parallel.bf16 = false;
    job_.parallel.fp16 = true;
    EXPECT_THAT(start(),
                AllOf(HasSubstr("model.safetensors\": transformer.h.1.ln_1.weight has element 2 of 65520, beyond "
                                "fp16, which ends at 65504"),
                      HasSubstr("parallel.bf16")));
    weight[2] = 65519;
    EXPECT_EQ(start(), "");
    job_.parallel.fp16 = false;
    job_.parallel.bf16 = true;
    weight[2] = std::numeric_limits<float>::max();
    EXPECT_THAT(start(), HasSubstr("beyond bf16"));
    weight[2] = before;
}

TEST_F(InitialWeights, WithTheNamesThatWrappersOfModulesMakeAreTaken) {
    const at::Tensor embedding = tensors_.at("transformer.wte.weight");
    const auto original = tensors_;
    for (const std::string prefix : {"module.", "_orig_mod.", "model.", "_orig_mod.module.", "module._orig_mod.model.",
                                     "_forward_module._fsdp_wrapped_module."}) {
        for (const bool bare : {false, true}) {
            tensors_ = original;
            rename([&](const std::string& name) { return prefix + (bare ? name.substr(name.find('.') + 1) : name); });
            tensors_[prefix + "transformer.h.0.attn.bias"] = at::ones({1, 1, 40, 40});
            EXPECT_EQ(start("", 2), "") << prefix;
            EXPECT_TRUE(embedding_.equal(embedding)) << prefix;
            EXPECT_THAT(warnings_, IsEmpty()) << prefix;
            tensors_[prefix + "transformer.h.4.ln_1.weight"] = drawn({32});
            EXPECT_THAT(start(), HasSubstr("no place for " + prefix + "transformer.h.4.ln_1.weight"));
        }
    }
    tensors_ = original;  // layers that were compiled one by one
    rename([](std::string name) {
        if (const auto at = name.find("h.2."); at != name.npos) name.insert(at + 4, "_orig_mod.");
        return name;
    });
    EXPECT_EQ(start(), "");
}

TEST_F(InitialWeights, OfTwoModelsInOneFileAreRefused) {
    tensors_["module.transformer.ln_f.bias"] = drawn({32});
    EXPECT_THAT(start(), AllOf(HasSubstr("twice"), HasSubstr("as module.transformer.ln_f.bias"),
                               HasSubstr("as transformer.ln_f.bias")));
    tensors_.erase("module.transformer.ln_f.bias");
    tensors_["ln_f.bias"] = drawn({32});
    EXPECT_THAT(start(), AllOf(HasSubstr("ln_f.bias twice, as transformer.ln_f.bias and as ln_f.bias")));
}

TEST_F(InitialWeights, UnderNamesThatNobodyKnowsSayWhichOnesThereAre) {
    const auto original = tensors_;
    rename([](const std::string& name) { return "student." + name; });
    EXPECT_THAT(start(), AllOf(HasSubstr("has no tensor transformer.wte.weight or wte.weight, but "
                                         "student.transformer.wte.weight"),
                               HasSubstr("names without \"student.\"")));
    tensors_ = {{"encoder.a", drawn({2})}, {"encoder.b", drawn({2})}};
    EXPECT_THAT(start(), HasSubstr("has no tensor transformer.wte.weight or wte.weight, but encoder.a, encoder.b;"));
    tensors_ = original;
}

TEST_F(InitialWeights, OfLinearLayersSayThatTheyAreTransposed) {
    for (auto& [name, tensor] : tensors_)
        if (name.find("attn.c_") != name.npos || name.find("mlp.c_") != name.npos)
            if (tensor.dim() == 2) tensor = tensor.t().contiguous();
    EXPECT_THAT(start(), AllOf(HasSubstr("transformer.h.0.attn.c_attn.weight has shape [96, 32], the configured model "
                                         "needs [32, 96], its transpose"),
                               HasSubstr("nanoGPT"), HasSubstr("transposed (tensor.t().contiguous())")));
}

TEST_F(InitialWeights, NeedNotBeReadableWhereNothingIsMadeOfThem) {
    tensors_["score.weight"] = drawn({2, 32});
    const auto file = write_weights() / "model.safetensors";
    std::string bytes = testing::content(file);
    const auto at = bytes.find("\"F32\"", bytes.find("\"score.weight\""));
    bytes.replace(at, 5, "\"F4X\"");
    std::ofstream(file, std::ios::binary) << bytes;
    EXPECT_EQ(start_from(file), "");
    EXPECT_THAT(warnings_, ElementsAre(HasSubstr("score.weight")));

    const auto needed = bytes.find("\"F32\"", bytes.find("\"transformer.h.0.ln_1.bias\""));
    bytes.replace(needed, 5, "\"F4X\"");
    std::ofstream(file, std::ios::binary) << bytes;
    EXPECT_THAT(start_from(file), HasSubstr("\"transformer.h.0.ln_1.bias\" has dtype F4X"));
}

TEST_F(InitialWeights, ThatAreNoneSayWhatIsThere) {
    EXPECT_THAT(start_from(folder_.write("config.json", R"({"n_layer": 4})")),
                AllOf(HasSubstr("config.json\" is JSON text and holds no weights"), HasSubstr("the folder")));
    EXPECT_THAT(start_from(folder_.write("weights.index", R"({"weight_map": {}})")), HasSubstr("is JSON text"));
    EXPECT_THAT(start_from(folder_.write("pytorch_model.bin", "PK\x03\x04 and so on")),
                AllOf(HasSubstr("PyTorch's .pt and .bin files"), HasSubstr("save_pretrained")));

    const auto only = [&](const std::string& name) {
        const auto folder = folder_ / ("only " + name);
        std::filesystem::create_directories(folder);
        std::ofstream(folder / name) << "x";
        return start_from(folder);
    };
    EXPECT_THAT(only("pytorch_model.bin"),
                AllOf(HasSubstr("but pytorch_model.bin, which is PyTorch's own format"), HasSubstr("save_pretrained")));
    EXPECT_THAT(only("pytorch_model.bin.index.json"), HasSubstr("PyTorch's own format"));
    EXPECT_THAT(only("gpt2.safetensors"), HasSubstr("but gpt2.safetensors; name that file"));
    EXPECT_THAT(only("manifest.json"), HasSubstr("--resume"));
    EXPECT_THAT(only("README.md"), HasSubstr("name a Hugging Face model folder"));
}

}  // namespace
}  // namespace smp

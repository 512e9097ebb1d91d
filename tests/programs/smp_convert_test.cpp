// smp_convert as users run it. If these fail, a model changes on its way between programs or layouts, or a damaged
// checkpoint passes for a whole one.
#include <cstring>
#include <functional>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/files/safetensors.h"
#include "tests/programs/program.h"

namespace smp::testing {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

Outcome smp_convert(const std::string& arguments) { return run(program("smp_convert") + " " + arguments); }

std::string golden(const std::string& name) { return std::string(SMP_SOURCE_DIR) + "/tests/golden/" + name; }

/// What every canonical element of a checkpoint is, in short.
std::string hash_of(const std::string& checkpoint) {
    const Outcome outcome = smp_convert("inspect " + checkpoint + " --format json");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return outcome.exit_code == 0 ? Json::parse(outcome.output)["hash"].get<std::string>() : outcome.output;
}

/// Tensors of a file by name, as they lie there.
std::map<std::string, std::pair<std::vector<std::int64_t>, std::string>> tensors_in(const std::string& path) {
    std::map<std::string, std::pair<std::vector<std::int64_t>, std::string>> found;
    const runtime::SafetensorsFile file(path);
    for (const runtime::SafetensorsEntry& entry : file.entries())
        found[entry.name] = {entry.shape,
                             std::string(reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size())};
    return found;
}

/// A folder as Hugging Face makes it, from the tensors of a golden one: `name` says what a tensor is called, or, with
/// an empty text, that it is left out; those of `more` are added.
void write_model(const std::string& folder, const std::string& from,
                 const std::function<std::string(const std::string&)>& name,
                 const std::vector<runtime::SafetensorsEntry>& more = {}) {
    std::filesystem::create_directories(folder);
    std::filesystem::copy_file(golden(from) + "/config.json", folder + "/config.json",
                               std::filesystem::copy_options::overwrite_existing);
    const runtime::SafetensorsFile file(golden(from) + "/model.safetensors");
    std::vector<runtime::SafetensorsEntry> entries = more;
    for (runtime::SafetensorsEntry entry : file.entries()) {
        entry.name = name(entry.name);
        if (!entry.name.empty()) entries.push_back(entry);
    }
    runtime::write_safetensors(folder + "/model.safetensors", entries);
}

std::string same(const std::string& name) { return name; }

void expect_refused(const std::string& arguments, int code, const std::string& part) {
    const Outcome outcome = smp_convert(arguments);
    EXPECT_EQ(outcome.exit_code, code) << arguments << "\n" << outcome.output;
    EXPECT_THAT(outcome.output, StartsWith("smp_convert: error: "));
    EXPECT_THAT(outcome.output, HasSubstr(part));
    EXPECT_EQ(outcome.count("\n"), 1) << outcome.output;
}

/// A job on the tiny golden model, with its weights.
Json job(int pp, int tp, int steps = 1) {
    return {{"model", {{"preset", golden("tiny/config.json")}}},
            {"parallel",
             {{"pipeline_parallel_degree", pp},
              {"tensor_parallel_degree", tp},
              {"microbatches", 2},
              {"shard_optimizer_state", true}}},
            {"training",
             {{"steps", steps},
              {"global_batch_size", 8},
              {"learning_rate", 1e-3},
              {"min_learning_rate", 1e-4},
              {"schedule", "constant"},
              {"initial_weights", golden("tiny/model.safetensors")}}},
            {"data", {{"train", golden("tiny/tokens.bin")}, {"order", "sequential"}}}};
}

/// One step on 2 x 2 x 2 ranks, made once.
class SmpConvert : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        trained_ = std::make_unique<Folder>();
        const std::string config = trained_->write("job.json", job(2, 2).dump());
        const Outcome outcome =
            run(fmt::format("{} --config {} --ranks 8 --output {}", program("smp_train"), config, *trained_ / "run"));
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
    }
    static void TearDownTestSuite() { trained_.reset(); }

    static std::string run_folder() { return *trained_ / "run"; }
    static std::string checkpoint() { return *trained_ / "run/checkpoints/step_00000001"; }
    std::string copy_of_checkpoint() const {
        std::filesystem::remove_all(folder_ / "copy");
        std::filesystem::copy(checkpoint(), folder_ / "copy", std::filesystem::copy_options::recursive);
        return folder_ / "copy";
    }
    std::string config(const Json& content, const std::string& name = "job.json") const {
        return folder_.write(name, content.dump());
    }

    static std::unique_ptr<Folder> trained_;
    Folder folder_;
};
std::unique_ptr<Folder> SmpConvert::trained_;

TEST_F(SmpConvert, ImportThenExportGivesEveryBitBack) {
    for (const std::string model : {"tiny", "odd", "untied"}) {
        SCOPED_TRACE(model);
        const std::string imported = folder_ / (model + ".step"), exported = folder_ / model;
        ASSERT_EQ(smp_convert(fmt::format("import {} {}", golden(model), imported)).exit_code, 0);
        EXPECT_EQ(smp_convert("verify " + imported).exit_code, 0);
        const Outcome outcome = smp_convert(fmt::format("export {} {}", imported, exported));
        EXPECT_EQ(outcome.exit_code, 0);
        EXPECT_THAT(outcome.output, EndsWith(", of step 0\n"));
        auto expected = tensors_in(golden(model) + "/model.safetensors");
        if (model != "untied") expected.erase("lm_head.weight");
        EXPECT_TRUE(tensors_in(exported + "/model.safetensors") == expected);
        EXPECT_EQ(runtime::SafetensorsFile(exported + "/model.safetensors").metadata().at("format"), "pt");
        // What the golden config.json says, the exported one says too.
        const Json stated = Json::parse(read_text(golden(model) + "/config.json")),
                   written = Json::parse(read_text(exported + "/config.json"));
        for (const auto& [key, value] : stated.items()) EXPECT_EQ(written[key], value) << key;
        EXPECT_EQ(written["architectures"], Json::array({"GPT2LMHeadModel"}));
        EXPECT_TRUE(written["eos_token_id"].is_null());  // 50256 is no token of these vocabularies
        ASSERT_EQ(smp_convert(fmt::format("import {} {}", exported, folder_ / "again")).exit_code, 0);
        EXPECT_EQ(hash_of(folder_ / "again"), hash_of(imported));
        std::filesystem::remove_all(folder_ / "again");
    }
}

TEST_F(SmpConvert, TakesWhateverHuggingFaceCallsTheSameModel) {
    ASSERT_EQ(smp_convert(fmt::format("import {} {}", golden("tiny"), folder_ / "step")).exit_code, 0);
    const std::string expected = hash_of(folder_ / "step");
    const std::string prefix = "transformer.";
    const auto without_prefix = [&](const std::string& name) {
        return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
    };
    const runtime::SafetensorsFile file(golden("tiny") + "/model.safetensors");
    std::vector<runtime::SafetensorsEntry> head, front, back;
    for (const auto& entry : file.entries()) {
        (front.size() < 20 ? front : back).push_back(entry);
        if (entry.name != prefix + "wte.weight") continue;
        head.push_back(entry);
        head.back().name = "lm_head.weight";
    }
    const auto expect_same = [&](const std::string& source) {
        const Outcome outcome = smp_convert(fmt::format("import {} {}", source, folder_ / "other"));
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        EXPECT_EQ(hash_of(folder_ / "other"), expected);
        std::filesystem::remove_all(folder_ / "other");
    };
    write_model(folder_ / "bare", "tiny", without_prefix);
    expect_same(folder_ / "bare");
    expect_same(folder_ / "bare/model.safetensors");
    const auto no_head = [](const std::string& name) { return name == "lm_head.weight" ? "" : name; };
    write_model(folder_ / "head", "tiny", no_head, head);
    expect_same(folder_ / "head");
    write_model(
        folder_ / "head alone", "tiny",
        [&](const std::string& name) { return name == prefix + "wte.weight" ? "" : no_head(name); }, head);
    expect_same("'" + (folder_ / "head alone") + "'");
    write_model(folder_ / "shards", "tiny", same);
    std::filesystem::remove(folder_ / "shards/model.safetensors");
    Json map;
    const auto shard = [&](const std::string& name, const std::vector<runtime::SafetensorsEntry>& entries) {
        runtime::write_safetensors(folder_ / ("shards/" + name), entries);
        for (const auto& entry : entries) map[entry.name] = name;
    };
    shard("model-00001-of-00002.safetensors", front);
    shard("model-00002-of-00002.safetensors", back);
    folder_.write("shards/model.safetensors.index.json", Json{{"weight_map", map}}.dump());
    expect_same(folder_ / "shards");
}

TEST_F(SmpConvert, ModelsThatAreNotWhatTheySayAreRefused) {
    const std::string model = folder_ / "model", target = folder_ / "step";
    const auto refused = [&](const std::string& part) {
        expect_refused(fmt::format("import {} {}", model, target), 3, part);
        EXPECT_FALSE(std::filesystem::exists(target));
    };
    refused("does not exist; name a Hugging Face GPT-2 folder");
    write_model(model, "tiny", same);
    const std::string described = read_text(model + "/config.json");
    const auto describe = [&](const std::string& key, const Json& value) {
        Json changed = Json::parse(described);
        changed[key] = value;
        folder_.write("model/config.json", changed.dump());
    };
    std::filesystem::remove(model + "/config.json");
    refused("config.json\" does not exist, and without it");
    folder_.write("model/config.json", "{");
    refused("config.json");
    describe("activation_function", "relu");
    refused("\"relu\": must be \"gelu_new\"");
    describe("model_type", "llama");
    refused("model_type = \"llama\": must be \"gpt2\"");
    describe("n_head", 5);
    refused("n_head");
    describe("n_layer", 3);
    refused("has no place for transformer.h.3.");
    describe("n_layer", 5);
    refused("has no tensor transformer.h.4.ln_1.weight or h.4.ln_1.weight");
    describe("n_positions", 32);
    refused("has shape [64, 64], the configured model needs [32, 64]; make config.json agree");
    const std::vector<float> other(512 * 64);
    write_model(model, "tiny", [](const std::string& name) { return name == "lm_head.weight" ? "" : name; },
                {{.name = "lm_head.weight", .shape = {512, 64}, .bytes = std::as_bytes(std::span(other))}});
    refused("lm_head.weight differs from transformer.wte.weight");
    EXPECT_THAT(run("ls -A " + (folder_ / "")).output, "model\n");  // nothing half made
}

TEST_F(SmpConvert, InspectTellsWhatAnyoneAsksOfACheckpoint) {
    const Outcome outcome = smp_convert("inspect " + run_folder());
    EXPECT_EQ(outcome.exit_code, 0);
    for (const char* part :
         {"step_00000001\n", "step       1, 0 without", "tokens     512", "samples    8", "loss scale none",
          "4 layers, 64 wide, 4 heads, vocabulary 512", "parameters 236928", "files      8, "})
        EXPECT_THAT(outcome.output, HasSubstr(part));
    EXPECT_EQ(outcome.output, smp_convert("inspect " + checkpoint()).output);
    const Json json = Json::parse(smp_convert("inspect --format json " + checkpoint()).output);
    EXPECT_THAT(outcome.output, HasSubstr(json["hash"].get<std::string>()));
    EXPECT_THAT(outcome.output, HasSubstr(json["plan"].get<std::string>()));
    EXPECT_EQ(json["files"].size(), 8U);
    for (const Json& tensor : json["tensors"]) {
        if (tensor["name"] != "h.0.attn.c_attn.weight") continue;
        EXPECT_EQ(tensor["shape"], Json::array({64, 192}));
        EXPECT_EQ(tensor["files"], 2);  // each tensor rank's part by one of its replicas
        return;
    }
    FAIL();
}

TEST_F(SmpConvert, InspectTellsWhatACheckpointCameFrom) {
    ASSERT_EQ(smp_convert(fmt::format("import {} {}", golden("tiny"), folder_ / "start")).exit_code, 0);
    EXPECT_THAT(smp_convert("inspect " + (folder_ / "start")).output,
                HasSubstr("history    import after step 0, from " + golden("tiny") + "\n"));
    ASSERT_EQ(
        smp_convert(fmt::format("relayout {} {} --config {}", checkpoint(), folder_ / "relaid", config(job(1, 1))))
            .exit_code,
        0);
    const Outcome on = run(fmt::format("{} --config {} --ranks 2 --output {} --resume {}", program("smp_train"),
                                       config(job(2, 1, 3)), folder_ / "on", folder_ / "relaid"));
    ASSERT_EQ(on.exit_code, 0) << on.output;
    const std::string text = smp_convert("inspect " + (folder_ / "on")).output;
    EXPECT_THAT(text, HasSubstr(fmt::format("history    steps 1 to 1, 2 pipeline x 2 tensor x 2 data ranks, from {}\n"
                                            "history    relayout after step 1, 1 pipeline x 1 tensor x 1 data ranks, "
                                            "from {}; ",
                                            golden("tiny/model.safetensors"), checkpoint())));
    EXPECT_THAT(text, HasSubstr("; parallel.tensor_parallel_degree: 2 -> 1"));
    EXPECT_THAT(text, HasSubstr(fmt::format("history    steps 2 to 3, 2 pipeline x 1 tensor x 1 data ranks, from {}; ",
                                            folder_ / "relaid")));
    EXPECT_THAT(text, HasSubstr("; training.steps: 1 -> 3\n"));
    const Json history = Json::parse(smp_convert("inspect --format json " + (folder_ / "on")).output)["history"];
    ASSERT_EQ(history.size(), 3U);
    EXPECT_EQ(history[2]["after"], 1);
    EXPECT_EQ(history[1]["by"], "relayout");
}

TEST_F(SmpConvert, TheSameStateInAnotherLayoutHasTheSameHash) {
    const std::string expected = hash_of(checkpoint());
    ASSERT_EQ(smp_convert(fmt::format("import {} {}", golden("tiny"), folder_ / "start")).exit_code, 0);
    EXPECT_NE(hash_of(folder_ / "start"), expected);  // training changes it
    struct Layout {
        int pp, tp, ranks;
        bool bf16;
    };
    std::string from = checkpoint();
    for (const Layout& layout : {Layout{1, 1, 1, false}, {4, 1, 4, false}, {1, 4, 8, true}, {2, 2, 8, false}}) {
        SCOPED_TRACE(fmt::format("{} x {} of {}", layout.pp, layout.tp, layout.ranks));
        Json content = job(layout.pp, layout.tp);
        content["parallel"]["bf16"] = layout.bf16;
        const std::string to = folder_ / fmt::format("{}{}", layout.pp, layout.tp);
        const Outcome outcome =
            smp_convert(fmt::format("relayout {} {} --config {} --ranks {}", from, to, config(content), layout.ranks));
        ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
        EXPECT_EQ(smp_convert("verify " + to).exit_code, 0);
        EXPECT_EQ(hash_of(to), expected);
        const Json json = Json::parse(smp_convert("inspect --format json " + to).output);
        EXPECT_EQ(json["files"].size(), layout.ranks);
        EXPECT_EQ(json["step"], 1);
        from = to;
    }
    // Byte for byte what the run itself has written in that layout.
    for (const auto& entry : std::filesystem::directory_iterator(checkpoint())) {
        const std::string name = entry.path().filename().string();
        if (name == "manifest.json") continue;
        EXPECT_TRUE(read_text(entry.path()) == read_text(from + "/" + name)) << name;
    }
}

TEST_F(SmpConvert, TrainingGoesOnFromWhatWasRelaidAndFromWhatWasImported) {
    const auto train = [&](const Json& content, const std::string& output, const std::string& resume) {
        const Outcome outcome = run(fmt::format("{} --config {} --output {} {}", program("smp_train"), config(content),
                                                folder_ / output, resume));
        EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
        return promised(folder_ / (output + "/metrics.jsonl"));
    };
    const Json two = job(1, 1, 2);
    ASSERT_EQ(
        smp_convert(fmt::format("relayout {} {} --config {}", checkpoint(), folder_ / "relaid", config(two))).exit_code,
        0);
    const std::string direct = train(two, "direct", "--resume " + checkpoint());
    EXPECT_EQ(train(two, "from_relaid", "--resume " + (folder_ / "relaid")), direct);
    EXPECT_THAT(direct, HasSubstr("\"step\":2"));

    ASSERT_EQ(smp_convert(fmt::format("import {} {}", golden("tiny"), folder_ / "start")).exit_code, 0);
    Json no_weights = two;
    no_weights["training"].erase("initial_weights");
    EXPECT_EQ(train(no_weights, "from_imported", "--resume " + (folder_ / "start")), train(two, "from_weights", ""));
}

TEST_F(SmpConvert, RelayoutOfAnotherModelIsRefusedWithBothValues) {
    Json content = job(1, 1);
    content["model"]["n_head"] = 8;
    expect_refused(fmt::format("relayout {} {} --config {}", checkpoint(), folder_ / "new", config(content)), 2,
                   "model.n_head: 4 -> 8");
    EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
}

TEST_F(SmpConvert, VerifyNamesTheFileAndTheBytesOfWhatWasChanged) {
    const std::string copy = copy_of_checkpoint();
    EXPECT_THAT(smp_convert("verify " + copy).output, HasSubstr("every sum holds (8 files, "));
    const std::string file = copy + "/rank_00005.safetensors", good = read_text(file);
    for (const std::size_t at : {std::size_t{0}, std::size_t{9}, std::size_t{60}, good.size() / 2, good.size() - 1}) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(bytes[at] ^ 4);
        folder_.write("copy/rank_00005.safetensors", bytes);
        expect_refused(
            "verify " + copy, 3,
            fmt::format("rank_00005.safetensors\" was changed after it was written: the sum of bytes 0 to {} "
                        "does not hold",
                        good.size() - 1));
    }
    folder_.write("copy/rank_00005.safetensors", good.substr(1));
    expect_refused("verify " + copy, 3, "rank_00005.safetensors\" has");
    std::filesystem::remove(file);
    expect_refused("verify " + copy, 3, "rank_00005.safetensors\" does not exist");
    folder_.write("copy/rank_00005.safetensors", good);
    std::string manifest = read_text(copy + "/manifest.json");
    manifest[manifest.size() / 2] ^= 1;
    folder_.write("copy/manifest.json", manifest);
    expect_refused("verify " + copy, 3, "manifest.json\" was changed");
}

TEST_F(SmpConvert, NothingIsMadeOfADamagedCheckpoint) {
    const std::string copy = copy_of_checkpoint();
    std::string bytes = read_text(copy + "/rank_00001.safetensors");
    bytes.back() ^= 1;
    folder_.write("copy/rank_00001.safetensors", bytes);
    for (const std::string command : {"export {} {}", "export {} {} --format llmc", "relayout {} {} --config {}"})
        expect_refused(fmt::format(fmt::runtime(command), copy, folder_ / "new", config(job(1, 1))), 3,
                       "rank_00001.safetensors\" was changed");
    expect_refused("inspect " + copy, 3, "rank_00001.safetensors\" was changed");
    EXPECT_EQ(run("ls -A " + (folder_ / "")).output, "copy\njob.json\n");
}

TEST_F(SmpConvert, LlmcsFileHasItsLayoutAndComesBack) {
    // A vocabulary that has to be padded; llm.c has one epsilon.
    write_model(folder_ / "model", "odd", same);
    Json described = Json::parse(read_text(folder_ / "model/config.json"));
    described["layer_norm_epsilon"] = 1e-5;
    folder_.write("model/config.json", described.dump());
    ASSERT_EQ(smp_convert(fmt::format("import {} {}", folder_ / "model", folder_ / "step")).exit_code, 0);
    ASSERT_EQ(smp_convert(fmt::format("export {} {} --format llmc", folder_ / "step", folder_ / "m.bin")).exit_code, 0);
    const std::string bytes = read_text(folder_ / "m.bin");
    std::vector<std::int32_t> header(256);
    std::memcpy(header.data(), bytes.data(), 1024);
    header.resize(9);
    EXPECT_THAT(header, ::testing::ElementsAre(20240326, 3, 48, 503, 6, 6, 48, 512, 0));
    std::vector<float> values((bytes.size() - 1024) / 4);
    std::memcpy(values.data(), bytes.data() + 1024, bytes.size() - 1024);
    const auto golden_value = [&](const std::string& name, std::int64_t element) {
        const auto tensors = tensors_in(golden("odd") + "/model.safetensors");
        float value = 0;
        std::memcpy(&value, tensors.at("transformer." + name).second.data() + 4 * element, 4);
        return value;
    };
    EXPECT_EQ(values[502 * 48 + 47], golden_value("wte.weight", 502 * 48 + 47));
    EXPECT_EQ(values[503 * 48], 0);
    // qkvw of layer 2: [out, in], behind token and position tables and ln_1 of 6 layers.
    const std::int64_t qkvw = 512 * 48 + 48 * 48 + 2 * 6 * 48, out = 77, in = 13;
    EXPECT_EQ(values[qkvw + 2 * 144 * 48 + out * 48 + in], golden_value("h.2.attn.c_attn.weight", in * 144 + out));
    EXPECT_EQ(values.back(), golden_value("ln_f.bias", 47));
    ASSERT_EQ(smp_convert(fmt::format("import {} {}", folder_ / "m.bin", folder_ / "back")).exit_code, 0);
    EXPECT_EQ(hash_of(folder_ / "back"), hash_of(folder_ / "step"));

    // bf16: the upper halves.
    std::string half = bytes.substr(0, 1024);
    half[4] = 5;
    for (std::size_t i = 1024; i < bytes.size(); i += 4) half += bytes.substr(i + 2, 2);
    folder_.write("half.bin", half);
    ASSERT_EQ(smp_convert(fmt::format("import {} {}", folder_ / "half.bin", folder_ / "half")).exit_code, 0);
    ASSERT_EQ(smp_convert(fmt::format("export {} {} --format llmc", folder_ / "half", folder_ / "h.bin")).exit_code, 0);
    std::string rounded = bytes;
    for (std::size_t i = 1024; i < bytes.size(); i += 4) rounded[i] = rounded[i + 1] = 0;
    EXPECT_TRUE(read_text(folder_ / "h.bin") == rounded);

    folder_.write("cut.bin", bytes.substr(0, bytes.size() - 4));
    expect_refused(fmt::format("import {} {}", folder_ / "cut.bin", folder_ / "new"), 3, "and its header says");
    half[4] = 1;
    folder_.write("old.bin", half);
    expect_refused(fmt::format("import {} {}", folder_ / "old.bin", folder_ / "new"), 3, "llm.c's version 1");
    ASSERT_EQ(smp_convert(fmt::format("import {} {}", golden("untied"), folder_ / "untied")).exit_code, 0);
    expect_refused(fmt::format("export {} {} --format llmc", folder_ / "untied", folder_ / "u.bin"), 3,
                   "a head of its own, which llm.c's format cannot say");
}

TEST_F(SmpConvert, KeepsWhatIsThere) {
    std::filesystem::create_directory(folder_ / "full");
    folder_.write("full/mine", "precious");
    expect_refused(fmt::format("import {} {}", golden("tiny"), folder_ / "full"), 2, "exists already");
    expect_refused(fmt::format("export {} {}", checkpoint(), folder_ / "full"), 2, "exists already");
    expect_refused(fmt::format("export {} {}", checkpoint(), folder_ / "full/mine"), 2, "exists already");
    EXPECT_EQ(read_text(folder_ / "full/mine"), "precious");
    std::filesystem::create_directory(folder_ / "empty");
    EXPECT_EQ(smp_convert(fmt::format("export {} {}/", checkpoint(), folder_ / "empty")).exit_code, 0);
    EXPECT_TRUE(std::filesystem::exists(folder_ / "empty/config.json"));
    expect_refused(fmt::format("export {} {}", checkpoint(), folder_ / "no/folder"), 3, "create the folder around it");
}

TEST_F(SmpConvert, WrongCommandLinesAreSentences) {
    expect_refused("", 2, "command is missing: inspect, verify, export, import or relayout");
    expect_refused("encrypt x", 2, "\"encrypt\" is unknown");
    expect_refused("inspect", 2, "CHECKPOINT is missing");
    expect_refused("export x", 2, "TARGET is missing");
    expect_refused("verify a b", 2, "\"b\" is one path too many");
    expect_refused("verify --bogus", 2, "bogus");
    expect_refused("inspect x --format xml", 2, "--format is \"xml\"; allowed are text, json");
    expect_refused("export x y --format onnx", 2, "--format is \"onnx\"; allowed are huggingface, llmc");
    expect_refused("relayout x y", 2, "--config is missing");
    expect_refused("relayout x y --config z --ranks 0", 2, "--ranks is 0");
    expect_refused("relayout x y --config none.json", 2, "none.json");
    expect_refused("inspect " + (folder_ / "none"), 3, "is no checkpoint and holds none");
    EXPECT_THAT(smp_convert("--help").output, HasSubstr("Exit codes: 0 done"));
    EXPECT_THAT(smp_convert("--version").output, StartsWith("smp_convert "));
}

}  // namespace
}  // namespace smp::testing

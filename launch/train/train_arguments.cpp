#include "launch/train/train_arguments.h"

#include <filesystem>

#include <cxxopts.hpp>
#include <fmt/format.h>

#include "comms/device/rank_device.h"
#include "launch/command/config_arguments.h"
#include "launch/command/help.h"
#include "launch/command/version.h"
#include "partition/job/problem.h"

namespace smp::launch {

namespace {

constexpr const char* kExample = R"(
A configuration that trains, job.json (my_text.txt: any text):
  {
    "model": {"n_layer": 2, "n_head": 2, "n_embd": 64, "n_positions": 64,
              "vocab_size": 256},
    "training": {"steps": 100, "batch_size": 8},
    "data": {"train": "my_text.txt", "tokenizer": "bytes"}
  }

Examples:
  smp_train --config job.json --ranks 2           ranks are threads
  mpirun -np 2 smp_train --config job.json        ranks are processes
  smp_train --config job.json --set training.steps=10 --set model.n_layer=4
  smp_train --config job.json --evaluate --resume runs/job \
    --set data.validation_fraction=0.1
  smp_train --help training                       keys of that section

Exit codes: 0 done, 1 internal error, 2 usage or configuration, 3 data missing
or corrupt, 4 another rank failed or a wait ran past its limit, 5 out of memory,
6 training is done, but its last checkpoint could not be written, 128 + signal
where one has ended it at once.
)";

cxxopts::Options options() {
    cxxopts::Options options("smp_train", "Trains a GPT-2 over pipeline, tensor and data-parallel ranks.");
    options.add_options()                                                               //
        ("config", "configuration file (JSON)", cxxopts::value<std::string>(), "FILE")  //
        ("set", "override SECTION.KEY=VALUE (JSON or a bare string); any number of times",
         cxxopts::value<std::vector<std::string>>(), "KEY=VALUE")                                                   //
        ("output", "directory of the results (default: runs/<config name>)", cxxopts::value<std::string>(), "DIR")  //
        ("resume",
         "auto: go on from the newest complete checkpoint in the output directory; never: begin anew, an earlier run "
         "moves to earlier/; DIR: go on from this checkpoint or run",
         cxxopts::value<std::string>(), "auto|never|DIR")  //
        ("ranks", "local mode: this many ranks as threads of this process (default: all that the layout needs)",
         cxxopts::value<int>(), "N")  //
        ("launcher",
         "what makes this process a rank; auto: MPI where mpirun has started it; none: local mode, wherever it runs",
         cxxopts::value<std::string>(), "auto|mpi|none")                               //
        ("quiet", "print nothing but failures; log.txt has what would be printed")     //
        ("dry-run", "plan, check, price (as smp_plan does), stop; allocates nothing")  //
        ("emulate", "not yet", cxxopts::value<std::string>(), "RANK|all")              //
        ("evaluate",
         "print the validation loss of the newest checkpoint in the output directory, or of the one that --resume "
         "names (never: of the initial weights); trains and writes nothing")  //
        ("version", "versions of the program and of what it is built on, devices found");
    add_help(options);
    return options;
}

}  // namespace

TrainArguments parse_train_arguments(int argc, const char* const* argv) {
    TrainArguments arguments;
    try {
        auto description = options();
        const auto parsed = description.parse(argc, argv);
        if (parsed.count("help") != 0) {
            arguments.answer = help_text(description, parsed, kExample);
            return arguments;
        }
        if (parsed.count("version") != 0) {
            arguments.answer = version_text("smp_train", comms::described_cuda_devices());
            return arguments;
        }
        if (!parsed.unmatched().empty())
            refuse_argument(parsed.unmatched().front(), "is no option of smp_train; see smp_train --help");
        if (parsed.count("emulate") != 0) refuse_argument("--emulate", "is not yet available in this version");
        if (parsed.count("config") == 0)
            refuse_argument(
                "--config",
                "is missing: name the configuration file, as in smp_train --config configs/quickstart.json");
        arguments.config = parsed["config"].as<std::string>();
        arguments.sets = all_of(parsed, "set");
        arguments.output = parsed.count("output") != 0
                               ? parsed["output"].as<std::string>()
                               : "runs/" + std::filesystem::path(arguments.config).stem().string();
        if (parsed.count("resume") != 0) {
            const auto& resume = parsed["resume"].as<std::string>();
            if (resume == "never")
                arguments.resume = Resume::never;
            else if (resume != "auto")
                arguments.resume_from = resume;
        }
        if (parsed.count("ranks") != 0) {
            arguments.ranks = parsed["ranks"].as<int>();
            if (*arguments.ranks < 1)
                refuse_argument("--ranks", fmt::format("is {}; at least 1 rank is needed", *arguments.ranks));
        }
        if (parsed.count("launcher") != 0) {
            const auto& launcher = parsed["launcher"].as<std::string>();
            arguments.launcher = launcher_of(argc, argv);
            if (arguments.launcher == Launcher::automatic && launcher != "auto")
                refuse_argument("--launcher", fmt::format("is {}; allowed are auto, mpi and none", launcher));
        }
        arguments.dry_run = parsed.count("dry-run") != 0;
        arguments.evaluate = parsed.count("evaluate") != 0;
        if (arguments.dry_run && arguments.evaluate)
            refuse_argument("--evaluate", "and --dry-run are both given; leave one of them out");
        arguments.quiet = parsed.count("quiet") != 0;
        if (arguments.quiet && (arguments.dry_run || arguments.evaluate))
            refuse_argument("--quiet", fmt::format("leaves nothing of {}, which prints its answer; leave it out",
                                                   arguments.dry_run ? "--dry-run" : "--evaluate"));
    } catch (const partition::ConfigError&) {
        throw;
    } catch (const std::exception& error) {  // cxxopts' own class has another name in older versions
        refuse_argument("command line:", std::string(error.what()) + "; see smp_train --help");
    }
    return arguments;
}

}  // namespace smp::launch

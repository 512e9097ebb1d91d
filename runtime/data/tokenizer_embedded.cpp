// GPT-2's vocabulary inside the program: the assembler copies the file that CMake names into the read-only data.
#include "runtime/data/tokenizer_vocabulary.h"

asm(".pushsection .rodata\n"
    ".global smp_gpt2_vocabulary_begin\n"
    ".hidden smp_gpt2_vocabulary_begin\n"
    ".global smp_gpt2_vocabulary_end\n"
    ".hidden smp_gpt2_vocabulary_end\n"
    "smp_gpt2_vocabulary_begin:\n"
    ".incbin \"" SMP_GPT2_VOCABULARY
    "\"\n"
    "smp_gpt2_vocabulary_end:\n"
    ".popsection\n");

extern "C" {
extern const char smp_gpt2_vocabulary_begin[] __attribute__((visibility("hidden")));
extern const char smp_gpt2_vocabulary_end[] __attribute__((visibility("hidden")));
}

namespace smp::runtime {

std::string_view gpt2_vocabulary_text() {
    return {smp_gpt2_vocabulary_begin, static_cast<std::size_t>(smp_gpt2_vocabulary_end - smp_gpt2_vocabulary_begin)};
}

}  // namespace smp::runtime

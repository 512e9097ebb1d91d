// Empty on purpose: the target of this file owns the precompiled header that all LibTorch-using targets share.

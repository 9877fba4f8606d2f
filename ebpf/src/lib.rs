#![no_std]
//! What the kernel programs and the agent share.

"""Run untrusted programs of a model on this machine; the expected answer never enters the child.

What is covered
- files, other processes, other users, the network, devices: namespaces, Landlock, a filter of system calls
- memory, file sizes, descriptors, processes, output: by limits that can't be raised
- endless loops and sleeps: processor time counted by the zygote, the wall clock by the supervisor
- the verdict: answers stay in the trainer, results come back through what a program can't reach or forge
- one program after another: each is a process of its own, and nothing that it leaves behind outlives it

What is not
- bugs of the kernel, and channels through time or caches: candidates share the kernel with the trainer
- a person's attack; for that run the whole trainer in a virtual machine
- a repository's own tests and tests that can't be split: they hold their expected values, so what passes them
  may have read these
- other systems than Linux on x86-64 or aarch64; where namespaces are refused the walls are fewer (`levels`)

`pool` is the sandbox, `link` one zygote as the trainer sees it, `inside/` what runs behind the walls and so
imports next to nothing: its memory is forked for each program. docs/sandbox.md has the layers.
"""

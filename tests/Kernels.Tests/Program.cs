// The test host never runs this. OpsBitsTests starts the assembly as a process of its own, with vector instructions switched off, to compare bits.
foreach (string line in TpServe.Kernels.Tests.OpsDigest.Lines())
    Console.WriteLine(line);

using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("TpServe.Kernels.Tests")]
[assembly: InternalsVisibleTo("TpServe.Benchmarks")]

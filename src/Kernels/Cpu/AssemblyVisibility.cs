using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("TpServe.Kernels.Tests")]
[assembly: InternalsVisibleTo("TpServe.Benchmarks")]
[assembly: InternalsVisibleTo("TpServe.Collectives")]
[assembly: InternalsVisibleTo("TpServe.Collectives.Tests")]

using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("TpServe.Model.Tests")]
[assembly: InternalsVisibleTo("TpServe.Benchmarks")]
[assembly: InternalsVisibleTo("TpServe.InterpretedGpu.Tests")]

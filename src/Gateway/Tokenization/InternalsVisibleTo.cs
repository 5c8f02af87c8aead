using System.Runtime.CompilerServices;

// The parts of the tokenizer (patterns, classes, normalizers) are tested one by one; only the tokenizer itself is for other rooms.
[assembly: InternalsVisibleTo("TpServe.Gateway.Tests")]

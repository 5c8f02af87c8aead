using TpServe.Grammar.Pushdown;
namespace TpServe.Grammar.Schemas;
internal static class SchemaCompiler { public static int Compile(string schema, ProgramBuilder builder) => throw new GrammarException(GrammarErrorKind.NotServed, schema, "", builder.ToString()!); }

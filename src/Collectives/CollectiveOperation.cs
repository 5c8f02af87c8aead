namespace TpServe.Collectives;

/// <summary>Which operation a block belongs to. The numbers travel between processes.</summary>
internal enum CollectiveOperation
{
    SumTree = 1,
    SumDisjoint = 2,
    AllGather = 3,
    Gather = 4,
    Broadcast = 5,
    Barrier = 6,
}

using TpServe.Sharding;

namespace TpServe.Model.Weights;

/// <summary>A tensor that the family and the config call for.</summary>
/// <param name="Name">Its Hugging Face name.</param>
/// <param name="Shape">Outermost first.</param>
/// <param name="Roles">What its rows do, in row order: one role, or several where projections are fused.</param>
internal sealed record ExpectedTensor(string Name, IReadOnlyList<int> Shape, IReadOnlyList<WeightRole> Roles);

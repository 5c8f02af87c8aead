namespace TpServe.Kernels.Cuda.Linear;

/// <summary>Something made for one layout, such as a compiled kernel.</summary>
internal interface ILayoutUser<out TResult>
{
    /// <summary>Makes it.</summary>
    TResult With<T>() where T : struct, IWeightLayout;
}

/// <summary>Something made for one layout of codes and scales.</summary>
internal interface ICodedLayoutUser<out TResult>
{
    /// <summary>Makes it.</summary>
    TResult With<T>() where T : struct, ICodedLayout;
}

/// <summary>The one table of which layout type a file format has on the device; <see cref="DeviceLayout"/> says the same as data.</summary>
internal static class WeightLayouts
{
    /// <summary>Makes something for the layout of any format.</summary>
    public static TResult Choose<TResult>(WeightFormat format, ILayoutUser<TResult> user) => format switch
    {
        WeightFormat.F32 => user.With<Float32Layout>(),
        WeightFormat.F16 => user.With<Float16Layout>(),
        WeightFormat.BF16 => user.With<BFloat16Layout>(),
        _ => ChooseCoded(format, new AnyUser<TResult>(user)),
    };

    /// <summary>Makes something for the layout of a block format.</summary>
    public static TResult ChooseCoded<TResult>(WeightFormat format, ICodedLayoutUser<TResult> user) => format switch
    {
        WeightFormat.Q4_0 => user.With<CodedLayout<OffsetNibbleCodes, HalfScales>>(),
        WeightFormat.IQ4_NL => user.With<CodedLayout<TableNibbleCodes, HalfScales>>(),
        WeightFormat.Q4_1 => user.With<CodedLayout<NibbleCodes, HalfScaleMinimums>>(),
        WeightFormat.Q4_K => user.With<CodedLayout<NibbleCodes, SixBitScaleMinimums>>(),
        WeightFormat.Q5_0 or WeightFormat.Q8_0 => user.With<CodedLayout<ByteCodes, HalfScales>>(),
        WeightFormat.Q5_1 => user.With<CodedLayout<ByteCodes, HalfScaleMinimums>>(),
        WeightFormat.Q5_K => user.With<CodedLayout<ByteCodes, SixBitScaleMinimums>>(),
        WeightFormat.Q3_K or WeightFormat.Q6_K => user.With<CodedLayout<ByteCodes, ByteHalfScales>>(),
        WeightFormat.Q2_K => user.With<CodedLayout<ByteCodes, NibbleHalfScaleMinimums>>(),
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "unknown weight format"),
    };

    private sealed class AnyUser<TResult>(ILayoutUser<TResult> user) : ICodedLayoutUser<TResult>
    {
        public TResult With<T>() where T : struct, ICodedLayout => user.With<T>();
    }
}

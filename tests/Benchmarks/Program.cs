using TpServe.Benchmarks;

switch (args)
{
    case ["kernels", .. string[] rest]:
        KernelBench.Run(rest);
        break;
    default:
        Console.WriteLine("benchmarks: kernels [threads] [isa] [format...]");
        break;
}

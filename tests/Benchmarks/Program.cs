using TpServe.Benchmarks;

switch (args)
{
    case ["kernels", .. string[] rest]:
        KernelBench.Run(rest);
        break;
    case ["shapes", .. string[] rest]:
        ModelShapesBench.Run(rest);
        break;
    default:
        Console.WriteLine("benchmarks: kernels [threads] [isa] [format...], shapes [threads] [smollm2|llama1b] [format]");
        break;
}

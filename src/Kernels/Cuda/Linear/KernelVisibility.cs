using System.Runtime.CompilerServices;

// ILGPU's generated launchers live in an assembly of this name and see this room's internal structures.
[assembly: InternalsVisibleTo("ILGPURuntime")]

using System.Globalization;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Commands.Doctor;

/// <summary>What the host or container gives beside devices. Pure functions of the facts.</summary>
internal static class HostChecks
{
    /// <summary>A rank's segment: two blocks of 512 KiB and their control page, rounded up.</summary>
    private const long ShmBytesPerRank = 2 << 20;

    private const int FewFiles = 256;
    private const int EnoughFiles = 4096;
    private const long EnoughLockedBytes = 64 << 20;

    public static Finding SharedMemory(DoctorFacts facts)
    {
        const string Check = "shared memory";
        int ranks = facts.Devices?.Degree ?? facts.Options.Tp ?? 2;
        if (facts.Options.Transport == Transport.Ring || ranks == 1)
            return Finding.Ok(Check, facts.Options.Transport == Transport.Ring ? "Not needed by the ring." : "Not needed by one worker.");
        long needed = ranks * ShmBytesPerRank;
        string need = $"{Amounts.Count(ranks, "worker")} need {Amounts.Bytes(needed)}.";
        if (facts.ShmBytes is not { } size)
            return Lacking($"There is no /dev/shm; {need}", facts.InContainer ? "shm_size: \"1gb\"   (docker run --shm-size 1g)" : "mount -t tmpfs -o size=1G tmpfs /dev/shm");
        string text = $"/dev/shm has {Amounts.Bytes(facts.ShmFreeBytes)} of {Amounts.Bytes(size)} free; {need}";
        if (facts.ShmFreeBytes < needed)
            return Lacking(text, facts.InContainer ? "shm_size: \"1gb\"   (docker run --shm-size 1g)" : "mount -o remount,size=1G /dev/shm");
        return facts.Host is { ShmFault.Length: > 0 } host && facts.Options.Workers.Count == 0
            ? Lacking($"{host.ShmFault.TrimEnd('.')}; {need}", facts.InContainer ? "mount /dev/shm so that the container's user can write to it" : "mount -o remount,rw /dev/shm, with mode 1777")
            : Finding.Ok(Check, text);

        Finding Lacking(string found, string fix) => facts.Options.Transport == Transport.Shm
            ? Finding.Fail(Check, found, fix + ", or --transport auto")
            : Finding.Warn(Check, $"{found} The ring is used, which is slower.", fix);
    }

    public static Finding MemoryLock(DoctorFacts facts)
    {
        const string Check = "locked memory";
        string limit = facts.MemoryLockBytes is { } bytes ? Amounts.Bytes(bytes) : "unlimited";
        if (facts.Devices is not { OnGpus: true })
            return Finding.Ok(Check, $"The limit is {limit}; workers on the CPU lock nothing.");
        return facts.MemoryLockBytes is null or >= EnoughLockedBytes
            ? Finding.Ok(Check, $"The limit is {limit}; copies to a GPU go through pinned memory.")
            : Finding.Warn(Check, $"The limit is {limit}, below {Amounts.Bytes(EnoughLockedBytes)}: pinned memory for copies to a GPU may be refused.",
                facts.InContainer ? "ulimits: {memlock: -1}   (docker run --ulimit memlock=-1)" : "ulimit -l unlimited");
    }

    public static Finding OpenFiles(DoctorFacts facts)
    {
        const string Check = "open files";
        if (facts.OpenFiles is not { } limit)
            return Finding.Ok(Check, "There is no limit.");
        string text = string.Create(CultureInfo.InvariantCulture, $"The limit is {limit}; each connection takes one, and {EnoughFiles} are enough.");
        string fix = facts.InContainer ? "ulimits: {nofile: 65536}   (docker run --ulimit nofile=65536)" : "ulimit -n 65536";
        return limit >= EnoughFiles ? Finding.Ok(Check, text) : limit >= FewFiles ? Finding.Warn(Check, text, fix) : Finding.Fail(Check, text, fix);
    }

    public static Finding Cpu(DoctorFacts facts)
    {
        const string Check = "cpu";
        string quota = facts.CpuQuota is { } cores ? string.Create(CultureInfo.InvariantCulture, $"a quota of {cores:0.##} cores") : "no quota";
        string have = $"{Amounts.Count(facts.Cores, "core")}, {quota}";
        if (facts.Plan is not { } plan || facts.Options.Workers.Count > 0)
            return Finding.Ok(Check, $"{have}.");
        int threads = plan.Devices.OnGpus ? plan.Degree : plan.Threads.Sum();
        double limit = Math.Min(facts.Cores, facts.CpuQuota ?? facts.Cores);
        string text = $"{have}; {Amounts.Count(plan.Degree, "worker")} compute with {Amounts.Count(threads, "thread")}.";
        if (threads <= limit)
            return Finding.Ok(Check, text);
        int fitting = Math.Max(1, (int)limit / plan.Degree);
        return Finding.Warn(Check, text, facts.CpuQuota < threads
            ? string.Create(CultureInfo.InvariantCulture, $"cpus: \"{threads}\"   (docker run --cpus {threads}){(fitting < plan.Threads.Max() ? $", or --threads {fitting}" : "")}")
            : fitting < plan.Threads.Max()
                ? string.Create(CultureInfo.InvariantCulture, $"--threads {fitting}")
                : string.Create(CultureInfo.InvariantCulture, $"--tp {Math.Max(1, (int)limit)}"));
    }

    public static Finding Memory(DoctorFacts facts)
    {
        const string Check = "memory";
        string free = $"{Amounts.Bytes(facts.FreeHostBytes)} are free";
        if (facts.Plan is not { } plan || facts.Options.Workers.Count > 0)
            return Finding.Ok(Check, $"{free}.");
        if (plan.Devices.OnGpus)
            return Finding.Ok(Check, $"{free}; weights and cache, {Amounts.Bytes(facts.GroupBytes)}, go to the GPUs.");
        string text = $"{free}; weights and cache take {Amounts.Bytes(facts.GroupBytes)}.";
        if (facts.GroupBytes <= facts.FreeHostBytes)
            return Finding.Ok(Check, text);
        // What the cache takes by itself is half of what the weights leave: where both do not fit, the weights do not, or somebody has chosen the cache.
        string smaller = facts.Options.KvCache == default ? "a smaller model" : "--kv-cache auto, a smaller model";
        return Finding.Fail(Check, text, facts.InContainer ? string.Create(CultureInfo.InvariantCulture, $"mem_limit: \"{2 * facts.GroupBytes >> 20}m\", or {smaller}") : $"{smaller}, or workers on further hosts (--worker)");
    }

    public static Finding TempFolder(DoctorFacts facts)
    {
        const string Check = "temporary folder";
        if (facts.Options.Workers.Count > 0)
            return Finding.Ok(Check, "Not needed: no local worker is started.");
        if (facts.TempFault.Length == 0)
            return Finding.Ok(Check, $"{facts.TempFolder} can be written.");
        string fix = facts.InContainer ? "tmpfs: [/tmp]   (docker run --tmpfs /tmp)" : "TMPDIR=/tmp", fault = facts.TempFault.TrimEnd('.');
        return facts.SocketFolder.Length > 0
            ? Finding.Warn(Check, $"{fault}; the sockets of the workers go to {facts.SocketFolder}.", fix)
            : Finding.Fail(Check, $"{fault}, and nowhere else can the sockets of the workers go.", fix);
    }

    public static Finding Unicode(DoctorFacts facts) => facts.NormalizesUnicode
        ? Finding.Ok("unicode", "Normalisation works.")
        : Finding.Fail("unicode", "Normalisation does nothing: text would be tokenized wrongly.", "install libicu, and unset DOTNET_SYSTEM_GLOBALIZATION_INVARIANT");

    public static Finding User(DoctorFacts facts) => facts.IsRoot
        ? Finding.Warn("user", "The gateway runs as root, and needs no right that a user lacks.", facts.InContainer ? "user: \"1654:1654\"   (docker run --user 1654:1654)" : "start it as a user of its own")
        : Finding.Ok("user", "Not root.");
}

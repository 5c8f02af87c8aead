using System.Net;
using System.Net.Sockets;

namespace TpServe.Client.Tests;

/// <summary>TCP between a client and a server, whose connections a test cuts or silences.</summary>
internal sealed class CuttableRelay : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly List<Socket> _open = [];
    private readonly HashSet<Socket> _silent = [];
    private readonly CancellationTokenSource _end = new();
    private readonly Uri _target;
    private readonly Task _accepting;
    private readonly List<Task> _relaying = [];

    public CuttableRelay(string target)
    {
        _target = new Uri(target);
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public string Address => $"http://{_listener.LocalEndpoint}";

    /// <summary>Connections made.</summary>
    public int Connections { get; private set; }

    /// <summary>Every connection ends at once, with a reset.</summary>
    public void Cut()
    {
        lock (_gate)
        {
            foreach (Socket socket in _open)
            {
                socket.LingerState = new LingerOption(true, 0);
                socket.Dispose();
            }
            _open.Clear();
        }
    }

    /// <summary>Every connection stays, and nothing comes through it any more, as when a cable is pulled.</summary>
    public void Silence()
    {
        lock (_gate)
            _silent.UnionWith(_open);
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Stop();
        await _accepting;
        Cut();
        await Task.WhenAll(_relaying).WaitAsync(TimeSpan.FromSeconds(10));
        _end.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                Socket near = await _listener.AcceptSocketAsync(_end.Token);
                Socket far = new(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                near.NoDelay = true;
                await far.ConnectAsync(IPAddress.Loopback, _target.Port, _end.Token);
                lock (_gate)
                {
                    Connections++;
                    _open.AddRange([near, far]);
                    _relaying.AddRange([PassAsync(near, far), PassAsync(far, near)]);
                }
            }
        }
        catch (Exception end) when (end is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private async Task PassAsync(Socket from, Socket to)
    {
        byte[] buffer = new byte[16 << 10];
        try
        {
            while (await from.ReceiveAsync(buffer) is > 0 and int count)
                if (!IsSilent(from))
                    await to.SendAsync(buffer.AsMemory(0, count));
            if (!IsSilent(from))
                to.Shutdown(SocketShutdown.Send);
        }
        catch (Exception cut) when (cut is SocketException or ObjectDisposedException)
        {
            // Cut.
        }
    }

    private bool IsSilent(Socket socket)
    {
        lock (_gate)
            return _silent.Contains(socket);
    }
}

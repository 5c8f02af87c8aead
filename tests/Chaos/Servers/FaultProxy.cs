using System.Net;
using System.Net.Sockets;

namespace TpServe.Chaos.Servers;

/// <summary>A TCP link that can be cut and stalled: what connects to it is connected on to its target.</summary>
/// <remarks>
/// Cut      every connection ends with a reset, on both sides.
/// Stall    bytes stay where they are, and connections are taken but not made: nobody is told, as when a host falls silent.
/// Threads  any.
/// </remarks>
internal sealed class FaultProxy : IDisposable
{
    private const int BufferBytes = 256 << 10;

    private readonly TcpListener _listener;
    private readonly IPEndPoint _target;
    private readonly Lock _gate = new();
    private readonly HashSet<Socket> _open = [];
    private readonly CancellationTokenSource _ending = new();
    private TaskCompletionSource _flows = Flowing();

    /// <param name="address">Where it listens, on a port of its own.</param>
    /// <param name="target">Where it leads.</param>
    public FaultProxy(IPAddress address, IPEndPoint target)
    {
        _target = target;
        _listener = new TcpListener(address, 0);
        _listener.Start();
        _ = AcceptAsync();
    }

    /// <summary>host:port for those who connect.</summary>
    public string Address => _listener.LocalEndpoint.ToString()!;

    /// <summary>Resets every connection there is; new ones are made.</summary>
    public void Cut()
    {
        Socket[] all;
        lock (_gate)
        {
            all = [.. _open];
            _open.Clear();
        }
        foreach (Socket socket in all)
            Reset(socket);
    }

    /// <summary>Nothing passes from here on, until <see cref="Flow"/>.</summary>
    public void Stall()
    {
        lock (_gate)
            if (_flows.Task.IsCompleted)
                _flows = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    }

    /// <summary>What was held passes.</summary>
    public void Flow()
    {
        lock (_gate)
            _flows.TrySetResult();
    }

    public void Dispose()
    {
        _ending.Cancel();
        _listener.Dispose();
        Cut();
    }

    private async Task AcceptAsync()
    {
        while (!_ending.IsCancellationRequested)
        {
            try
            {
                Socket near = await _listener.AcceptSocketAsync(_ending.Token);
                _ = LinkAsync(near);
            }
            catch (Exception fault) when (fault is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                // The next one, or the end.
            }
        }
    }

    private async Task LinkAsync(Socket near)
    {
        Socket far = new(_target.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        lock (_gate)
        {
            _open.Add(near);
            _open.Add(far);
        }
        try
        {
            await FlowsAsync();
            await far.ConnectAsync(_target, _ending.Token);
            near.NoDelay = far.NoDelay = true;
            await Task.WhenAll(PassAsync(near, far), PassAsync(far, near));
        }
        catch (Exception fault) when (fault is SocketException or ObjectDisposedException or OperationCanceledException)
        {
            // One side is gone: so is the other, below.
        }
        finally
        {
            lock (_gate)
            {
                _open.Remove(near);
                _open.Remove(far);
            }
            Reset(near);
            Reset(far);
        }
    }

    private async Task PassAsync(Socket from, Socket to)
    {
        byte[] buffer = new byte[BufferBytes];
        int count;
        try
        {
            while ((count = await from.ReceiveAsync(buffer, _ending.Token)) > 0)
            {
                await FlowsAsync();
                for (int sent = 0; sent < count;)
                    sent += await to.SendAsync(buffer.AsMemory(sent, count - sent), _ending.Token);
            }
        }
        catch (SocketException)
        {
            Reset(to);
            throw;
        }
        await FlowsAsync();
        to.Shutdown(SocketShutdown.Send);
    }

    private Task FlowsAsync()
    {
        lock (_gate)
            return _flows.Task.WaitAsync(_ending.Token);
    }

    private static void Reset(Socket socket)
    {
        try
        {
            socket.LingerState = new LingerOption(enable: true, seconds: 0);
        }
        catch (Exception fault) when (fault is SocketException or ObjectDisposedException)
        {
            // It has ended.
        }
        socket.Dispose();
    }

    private static TaskCompletionSource Flowing()
    {
        TaskCompletionSource flows = new(TaskCreationOptions.RunContinuationsAsynchronously);
        flows.SetResult();
        return flows;
    }
}

using System.Runtime.InteropServices;
using TpServe.Collectives;
using TpServe.Kernels;
using TpServe.Model.Layers;
using TpServe.Model.Sampling;
using TpServe.Sharding;

namespace TpServe.Model;

/// <summary>One rank ready to run steps: its part of the model, its part of the KV cache, and on rank 0 the sampler.</summary>
/// <remarks>
/// A step:
/// 1. Blocks that are to be copied are; the batch's integers go to the device in one copy.
/// 2. The forward pass is enqueued: hidden states of every row.
/// 3. Rows whose choice follows from each rank's best tokens send those to rank 0.
/// 4. Rows that top-p alone filters send those and the mass of all; few of them need more, which follows when the choices are known.
/// 5. Rows that need whole logits, as all do whose tokens are restricted apart, send them in batches of <see cref="RowsAtATime"/>, so that a long prompt's logprobs need no memory of its length.
/// 6. Rows whose hidden states are pooled come to rank 0, which has them whole: no head is run for them, nothing is exchanged.
/// 7. Rank 0 chooses, on its device where that has a sampler, else on the host; everyone gets the choices.
/// A step of which the device draws every row is recorded where the device records: between the upload and the ids nothing waits for the host.
/// Numerics a row's result has the same bits at every degree, in every batch and chunk.
/// Threads  the rank's thread; every rank of the group runs the same batches in the same order.
/// Errors   whatever a collective or a kernel throws leaves the peers waiting: the caller gives up the epoch.
/// </remarks>
public sealed class ModelRank
{
    /// <summary>Most whole rows of logits brought to rank 0 at once.</summary>
    public const int RowsAtATime = 16;

    /// <summary>Most rows whose candidates are brought to rank 0 at once: bounds the logits held on a rank.</summary>
    private const int CandidateRowsAtATime = 64;

    private readonly DenseTransformer _model;
    private readonly KvCache _cache;
    private readonly ITensorBackend _ops;
    private readonly ICommunicator _comm;
    private readonly StepUpload _upload;
    private readonly LogitsExchange _exchange;
    private readonly LogitsPlan _logits;
    private readonly Sampler _sampler = new();
    private readonly StepOutput _output = new();
    private readonly Func<DrawnStep> _enqueueDecode;
    private readonly bool _isDraft;
    private (UploadedStep Step, RecordingKey Key) _recorded;
    private float[] _values = [];
    private int[] _ids = [];
    private int[] _drawn = [];

    /// <summary>Joins the parts, which stay their makers' to dispose.</summary>
    /// <param name="model">This rank's part of the model.</param>
    /// <param name="cache">Its keys and values.</param>
    /// <param name="plan">What the rank owns.</param>
    /// <param name="ops">The rank's device.</param>
    /// <param name="comm">The rank's group.</param>
    /// <param name="isDraft">The second model on this device: its recorded steps are told from the first one's.</param>
    public ModelRank(DenseTransformer model, KvCache cache, ShardPlan plan, ITensorBackend ops, ICommunicator comm, bool isDraft = false)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(plan);
        _model = model;
        _cache = cache;
        _ops = ops;
        _comm = comm;
        _isDraft = isDraft;
        bool draws = ops.Sampler is not null && model.Config.Vocab <= IRowSampler.MostColumns;
        _logits = new LogitsPlan(draws, comm.Degree > 1);
        _upload = new StepUpload(model.Config, model.Limits, cache, ops, draws && comm.Rank == 0);
        _exchange = new LogitsExchange(model, plan.Partition.VocabBoundaries, ops, comm);
        _enqueueDecode = EnqueueDecode;
    }

    /// <summary>This rank's part of the model.</summary>
    public DenseTransformer Model => _model;

    /// <summary>This rank's keys and values.</summary>
    public KvCache Cache => _cache;

    /// <summary>Why some decode steps are not replayed although the device records; null where nothing is amiss.</summary>
    public string? RecordingFault => _ops.RecordingFault;

    /// <summary>Whether this is the rank that pools hidden states, and samples.</summary>
    public bool Pools => _exchange.Samples;

    /// <summary>Where the next steps write down what they do; null = nowhere. A step that is replayed as a whole is one segment.</summary>
    public StepTrace? Trace { get; set; }

    /// <summary>Runs one step. The result is overwritten by the next.</summary>
    /// <exception cref="ArgumentException">The batch is empty or beyond the model's limits.</exception>
    public StepOutput Run(StepBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (batch.Rows < 1 || batch.Rows > _model.Limits.MaxStepTokens)
            throw new ArgumentException($"A step of {batch.Rows} tokens is not within 1..{_model.Limits.MaxStepTokens}.", nameof(batch));
        if (batch.HighestPosition >= _model.Limits.MaxModelLength)
            throw new ArgumentException($"Position {batch.HighestPosition} is beyond the longest sequence of {_model.Limits.MaxModelLength} tokens.", nameof(batch));
        _comm.BeginStep(batch.Step);
        Trace?.Begin("upload");
        Span<int> chosen = _output.Reset(batch.Samples.Count);
        _logits.Make(batch.Samples);
        for (int i = 0; i < _logits.KnownSamples.Count; i++)
            chosen[_logits.KnownSamples[i]] = batch.Samples[_logits.KnownSamples[i]].Only!.Value;

        foreach ((int source, int destination) in batch.Copies)
            _cache.CopyBlock(source, destination, _ops);
        if (_exchange.Samples)
        {
            CollectionsMarshal.SetCount(_output.SampleLogprobs, batch.Samples.Count);
            CollectionsMarshal.AsSpan(_output.SampleLogprobs).Clear();
        }
        long mark = _ops.Mark();
        if (_isDraft)
            _ops.Rent(1, 1); // a recording belongs to its sizes and to where its scratch begins: the other model's begins elsewhere
        if (_ops.Records && _comm.IsEnqueued && batch.Lora is null && DecodeRecording.Fits(batch, _logits))
        {
            Trace?.Begin("whole step");
            RunRecorded(batch, chosen);
        }
        else
        {
            UploadedStep step = _upload.Exact(batch, _logits);
            step.Context.Trace = Trace;
            step.Context.Lora = batch.Lora;
            Tensor hidden = _model.Forward(step.Context);
            Trace?.Begin("head");
            if (step.WantedRows.Rows > 0)
            {
                Draw(batch, hidden, step, chosen);
                ChooseByCandidates(batch, hidden, step.WantedRows, chosen);
                Tensor kept = ChooseByNuclei(batch, hidden, step.WantedRows, chosen);
                ReadWholeRows(batch, hidden, step.WantedRows, chosen);
                if (chosen.Length > 0)
                    _exchange.Share(chosen);
                SettleNuclei(batch, kept, chosen);
                Pool(batch, hidden, step.WantedRows);
            }
        }
        _ops.Release(mark);
        Trace?.End();
        return _output;
    }

    /// <summary>A decode step at the sizes of a recording: everything between the upload and the download is enqueued, and replayed from the second time on.</summary>
    private void RunRecorded(StepBatch batch, Span<int> chosen)
    {
        RecordingKey key = DecodeRecording.Key(batch, _logits);
        _recorded = (_upload.Padded(batch, _logits, key), key);
        DrawnStep drawn = _ops.Recorded(key, _enqueueDecode);
        _ops.Download(drawn.Chosen.RowSlice(0, batch.Rows), chosen);
        if (_logits.ReportsDrawn && _exchange.Samples)
            ReadLikelihoods(batch, drawn.Rows, firstDrawn: 0, batch.Rows, chosen);
    }

    private DrawnStep EnqueueDecode()
    {
        (UploadedStep step, RecordingKey key) = _recorded;
        Tensor chosen = _ops.Rent(key.Rows, 1, ElementType.Int32);
        DrawnRows rows = _exchange.Draw(_model.Forward(step.Context), key.Candidates, key.Likeliest, step.Parameters, step.Edits, chosen);
        _exchange.ShareDrawn(chosen);
        return new DrawnStep(chosen, rows);
    }

    /// <summary>Has the device draw; what it draws comes to rank 0's host.</summary>
    private void Draw(StepBatch batch, Tensor hidden, UploadedStep step, Span<int> chosen)
    {
        int total = _logits.DrawnSamples.Count, candidates = _logits.DrawnCandidates, atATime = candidates == 0 ? RowsAtATime : CandidateRowsAtATime;
        for (int first = 0; first < total; first += atATime)
        {
            int m = Math.Min(atATime, total - first);
            long mark = _ops.Mark();
            Tensor tokens = _ops.Rent(m, 1, ElementType.Int32), parameters = _exchange.Samples ? step.Parameters.RowSlice(first, m) : default;
            DrawnRows rows = _exchange.Draw(Gather(hidden, step.WantedRows.RowSlice(first, m)), candidates, _logits.DrawnLikeliest, parameters, step.Edits, tokens);
            if (_exchange.Samples)
            {
                Reserve(ref _drawn, m);
                _ops.Download(tokens, _drawn.AsSpan(0, m));
                for (int i = 0; i < m; i++)
                    chosen[_logits.DrawnSamples[first + i]] = _drawn[i];
                if (_logits.ReportsDrawn)
                    ReadLikelihoods(batch, rows, first, m, chosen);
            }
            _ops.Release(mark);
        }
    }

    /// <summary>Rank 0 reads the logprobs of some drawn rows.</summary>
    private void ReadLikelihoods(StepBatch batch, DrawnRows rows, int firstDrawn, int count, ReadOnlySpan<int> chosen)
    {
        int k = rows.LikeliestIds.Columns;
        Reserve(ref _drawn, count * DrawnLikelihood.Words);
        Reserve(ref _values, count * k);
        Reserve(ref _ids, count * k);
        _ops.Download(rows.Likelihoods.RowSlice(0, count), _drawn.AsSpan(0, count * DrawnLikelihood.Words));
        if (k > 0)
        {
            _ops.Download(rows.LikeliestLogits.RowSlice(0, count), _values.AsSpan(0, count * k));
            _ops.Download(rows.LikeliestIds.RowSlice(0, count), _ids.AsSpan(0, count * k));
        }
        ReadOnlySpan<DrawnLikelihood> found = MemoryMarshal.Cast<int, DrawnLikelihood>(_drawn.AsSpan(0, count * DrawnLikelihood.Words));
        for (int i = 0; i < count; i++)
        {
            int sample = _logits.DrawnSamples[firstDrawn + i], top = batch.Samples[sample].TopLogprobs;
            if (top >= 0 && chosen[sample] != Sampler.NotFinite)
                _output.SampleLogprobs[sample] = TokenLogprobs.Of(found[i], _ids.AsSpan(i * k, top), _values.AsSpan(i * k, top), top);
        }
    }

    private void ChooseByCandidates(StepBatch batch, Tensor hidden, Tensor wantedRows, Span<int> chosen)
    {
        int total = _logits.CandidateSamples.Count;
        for (int first = 0; first < total; first += CandidateRowsAtATime)
        {
            int m = Math.Min(CandidateRowsAtATime, total - first);
            long mark = _ops.Mark();
            Choose(batch, _exchange.Candidates(Gather(hidden, wantedRows.RowSlice(_logits.DrawnSamples.Count + first, m)), _logits.Candidates), first, m, chosen);
            _ops.Release(mark);
        }
    }

    /// <summary>Rank 0 reads the candidates of so many rows and samples from them.</summary>
    private void Choose(StepBatch batch, Tensor gathered, int firstSample, int rows, Span<int> chosen)
    {
        if (!_exchange.Samples)
            return;
        int width = gathered.Columns;
        Reserve(ref _values, rows * width);
        Reserve(ref _ids, rows * width);
        _exchange.Read(gathered, rows, _values, _ids);
        for (int i = 0; i < rows; i++)
        {
            int sample = _logits.CandidateSamples[firstSample + i];
            chosen[sample] = _sampler.ChooseAmong(_values.AsSpan(i * width, width), _ids.AsSpan(i * width, width), batch.Samples[sample]);
        }
    }

    /// <summary>Rank 0 chooses where each rank's best tokens and the mass of all tell enough.</summary>
    /// <returns>This rank's logits of these rows, which stay rented: who they do not tell enough about is known when the choices are.</returns>
    private Tensor ChooseByNuclei(StepBatch batch, Tensor hidden, Tensor wantedRows, Span<int> chosen)
    {
        int m = _logits.NucleusSamples.Count, width = _exchange.NucleusLayout.Firsts[^1];
        if (m == 0)
            return default;
        Span<float> temperatures = stackalloc float[LogitsPlan.MostNuclei];
        for (int i = 0; i < m; i++)
            temperatures[i] = batch.Samples[_logits.NucleusSamples[i]].Settings.Temperature;
        Tensor logits = _model.Logits(Gather(hidden, wantedRows.RowSlice(_logits.DrawnSamples.Count + _logits.CandidateSamples.Count, m)));
        if (_exchange.Samples)
            Reserve(ref _values, m * width);
        _exchange.Nuclei(logits, temperatures[..m], _values);
        for (int i = 0; i < m && _exchange.Samples; i++)
        {
            int sample = _logits.NucleusSamples[i];
            chosen[sample] = _sampler.ChooseInNucleus(_exchange.NucleusLayout, _values.AsSpan(i * width, width), batch.Samples[sample]);
        }
        return logits;
    }

    /// <summary>Rows whose nucleus is wider than what was sent come whole, one by one.</summary>
    private void SettleNuclei(StepBatch batch, Tensor logits, Span<int> chosen)
    {
        bool settles = false;
        for (int i = 0; i < _logits.NucleusSamples.Count; i++)
        {
            int sample = _logits.NucleusSamples[i];
            if (chosen[sample] != Sampler.Undecided)
                continue;
            settles = true;
            if (_exchange.Samples)
                Reserve(ref _values, _model.Config.Vocab);
            _exchange.Row(logits.RowSlice(i, 1), _values);
            if (_exchange.Samples)
                chosen[sample] = _sampler.Choose(_values.AsSpan(0, _model.Config.Vocab), batch.Samples[sample]);
        }
        if (settles)
            _exchange.Share(chosen);
    }

    private void ReadWholeRows(StepBatch batch, Tensor hidden, Tensor wantedRows, Span<int> chosen)
    {
        int vocab = _model.Config.Vocab, samples = _logits.WholeSamples.Count, total = samples + batch.PromptLogprobs.Count;
        int before = _logits.DrawnSamples.Count + _logits.CandidateSamples.Count + _logits.NucleusSamples.Count;
        if (_exchange.Samples)
            Reserve(ref _values, Math.Min(total, RowsAtATime) * vocab);
        for (int first = 0; first < total; first += RowsAtATime)
        {
            int m = Math.Min(RowsAtATime, total - first);
            long mark = _ops.Mark();
            _exchange.Rows(Gather(hidden, wantedRows.RowSlice(before + first, m)), _values);
            _ops.Release(mark);
            if (!_exchange.Samples)
                continue;
            if (first == 0 && batch.AwaitMasks is { } await)
            {
                Trace?.Begin("masks");
                await();
                Trace?.Begin("head");
            }
            for (int i = 0; i < m; i++)
            {
                ReadOnlySpan<float> logits = _values.AsSpan(i * vocab, vocab);
                if (first + i >= samples)
                {
                    PromptLogprobRow prompt = batch.PromptLogprobs[first + i - samples];
                    _output.RowLogprobs.Add(_sampler.Logprobs(logits, prompt.TokenId, prompt.TopLogprobs));
                    continue;
                }
                int sample = _logits.WholeSamples[first + i];
                SampleRow row = batch.Samples[sample];
                chosen[sample] = _sampler.Choose(logits, row);
                if (row.TopLogprobs >= 0 && chosen[sample] != Sampler.NotFinite)
                    _output.SampleLogprobs[sample] = _sampler.Logprobs(logits, chosen[sample], row.TopLogprobs);
            }
        }
    }

    /// <summary>Rank 0 reads the hidden states that are pooled.</summary>
    private void Pool(StepBatch batch, Tensor hidden, Tensor wantedRows)
    {
        int total = batch.Pooled.Count, before = wantedRows.Rows - total, columns = hidden.Columns;
        if (!_exchange.Samples)
            return;
        for (int first = 0; first < total; first += CandidateRowsAtATime)
        {
            int m = Math.Min(CandidateRowsAtATime, total - first);
            long mark = _ops.Mark();
            Reserve(ref _values, m * columns);
            _ops.Download(Gather(hidden, wantedRows.RowSlice(before + first, m)), _values.AsSpan(0, m * columns));
            _ops.Release(mark);
            for (int i = 0; i < m; i++)
                batch.Pooled[first + i].Into.Add(_values.AsSpan(i * columns, columns));
        }
    }

    private Tensor Gather(Tensor hidden, Tensor rows)
    {
        Tensor picked = _ops.Rent(rows.Rows, hidden.Columns);
        _ops.GatherRows(hidden, rows, picked);
        return picked;
    }

    private static void Reserve<T>(ref T[] array, int elements)
    {
        if (array.Length < elements)
            array = new T[elements];
    }

    /// <summary>What a recorded step leaves.</summary>
    /// <param name="Chosen">[rows, 1] Int32, on every rank.</param>
    /// <param name="Rows">What logprobs follow from.</param>
    private readonly record struct DrawnStep(Tensor Chosen, DrawnRows Rows);
}

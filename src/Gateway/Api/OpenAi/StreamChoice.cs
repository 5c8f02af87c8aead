using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>Whether an answer is streamed, and whether the stream tells its usage.</summary>
internal readonly record struct StreamChoice(bool Streams, bool TellsUsage)
{
    /// <summary>What a body asks for.</summary>
    public static StreamChoice Of(GenerationBody body)
    {
        bool streams = body.Stream ?? false;
        if (body.StreamOptions is not null && !streams)
            throw RequestRejectedException.Invalid("stream_options", "'stream_options' needs 'stream' to be true.");
        return new StreamChoice(streams, body.StreamOptions?.IncludeUsage ?? false);
    }

    /// <summary>The usage member of chunks before the last: null where the last will have one, else no such member.</summary>
    public UsageReply? UsageOfChunks => TellsUsage ? UsageReply.NotYet : null;
}

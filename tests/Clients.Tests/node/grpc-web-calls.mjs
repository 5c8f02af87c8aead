// The calls that the browser and node make by the grpc-web client, with messages from the proto's text.
import grpcWeb from 'grpc-web';
import protobuf from 'protobufjs';

/** Chats once whole and once streamed; base has no path, proto is the text of inference.proto. */
export async function chatTwice(base, proto) {
  const { root } = protobuf.parse(proto, { keepCase: true });
  root.addJSON(protobuf.common.get('google/protobuf/struct.proto').nested);
  const type = name => root.lookupType(`tpserve.v1.${name}`);
  const method = (name, kind, request, response) => new grpcWeb.MethodDescriptor(
    `/tpserve.v1.Inference/${name}`, kind, Object, Object,
    message => type(request).encode(type(request).fromObject(message)).finish(),
    bytes => type(response).toObject(type(response).decode(bytes), { longs: Number, enums: String }));
  const client = new grpcWeb.GrpcWebClientBase({ format: 'text' });
  const metadata = { deadline: String(Date.now() + 40_000) };
  const request = {
    messages: [{ role: 'CHAT_ROLE_USER', content: 'Why is the sky blue?' }], sampling: { temperature: 0 }, stopping: { max_tokens: 12 },
  };
  const chat = method('Chat', 'unary', 'ChatRequest', 'GenerateResponse');
  const whole = await client.unaryCall(`${base}/tpserve.v1.Inference/Chat`, request, metadata, chat);
  let streamed = '';
  let events = 0;
  await new Promise((resolve, reject) => client
    .serverStreaming(`${base}/tpserve.v1.Inference/ChatStream`, request, metadata, method('ChatStream', 'server_streaming', 'ChatRequest', 'GenerateEvent'))
    .on('data', event => { events++; streamed += event.delta?.text ?? ''; })
    .on('error', reject)
    .on('end', resolve));
  const refused = await client.unaryCall(`${base}/tpserve.v1.Inference/Chat`, { ...request, sampling: { temperature: -1 } }, metadata, chat)
    .then(() => 0, fault => fault.code);
  return { whole: whole.outputs[0].text, streamed, events, refused };
}

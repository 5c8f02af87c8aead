// @grpc/grpc-js with what the server's reflection tells, and no proto file: node grpc.mjs HOST:PORT MODEL. Prints one JSON object.
import grpc from '@grpc/grpc-js';
import reflection from 'grpc-js-reflection-client';

const [address, model] = process.argv.slice(2);
const credentials = grpc.credentials.createInsecure();
const told = new reflection.GrpcReflection(address, credentials);
const services = await told.listServices();
const { tpserve: { v1 } } = (await told.getDescriptorBySymbol('tpserve.v1.Inference')).getPackageObject({ keepCase: true, defaults: true, oneofs: true });
const { tpserve: { v1: control } } = (await told.getDescriptorBySymbol('tpserve.v1.Control')).getPackageObject({ keepCase: true, defaults: true });

const inference = new v1.Inference(address, credentials);
const soon = () => ({ deadline: Date.now() + 40_000 });
const call = (client, method, request) => new Promise((resolve, reject) =>
  client[method](request, soon(), (fault, answer) => (fault ? reject(fault) : resolve(answer))));

const request = {
  model, messages: [{ role: 'CHAT_ROLE_USER', content: 'Why is the sky blue?' }], sampling: { temperature: 0 }, stopping: { max_tokens: 12 },
};
const whole = await call(inference, 'Chat', request);
let streamed = '';
const seqs = [];
for await (const event of inference.ChatStream(request, soon())) {
  seqs.push(Number(event.seq));
  streamed += event.delta?.text ?? '';
}
const { models } = await call(new control.Control(address, credentials), 'ListModels', {});
const refused = await call(inference, 'Chat', { ...request, sampling: { temperature: -1 } }).then(() => 'not refused', fault => `${fault.code} ${fault.details}`);
console.log(JSON.stringify({ services, whole: whole.outputs[0].text, streamed, seqs, model: models[0].id, refused }));
process.exit(0); // the reflection client keeps its connection

// OpenAI's npm client: node openai.mjs BASE_URL MODEL text|tools|embeddings|responses. Prints one JSON object.
import OpenAI from 'openai';

const [baseURL, model, part] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0, timeout: 50_000 });
const city = {
  type: 'object', properties: { city: { type: 'string', enum: ['Bonn', 'Ulm'] } }, required: ['city'], additionalProperties: false,
};

const parts = {
  async text() {
    const question = { model, temperature: 0, max_tokens: 12, messages: [{ role: 'user', content: 'Why is the sky blue?' }] };
    const whole = await client.chat.completions.create(question);
    let streamed = '';
    for await (const chunk of await client.chat.completions.create({ ...question, stream: true }))
      streamed += chunk.choices[0]?.delta?.content ?? '';
    const completion = await client.completions.create({ model, prompt: 'The capital of France is', max_tokens: 4, temperature: 0 });
    const models = [];
    for await (const one of client.models.list())
      models.push(one.id);
    const schema = await client.chat.completions.create({
      ...question, max_tokens: 40, response_format: { type: 'json_schema', json_schema: { name: 'place', strict: true, schema: city } },
    });
    let refused = 'not refused';
    try {
      await client.chat.completions.create({ ...question, temperature: -1 });
    } catch (fault) {
      refused = `${fault.status} ${fault.param}`;
    }
    return {
      whole: whole.choices[0].message.content, usage: whole.usage.completion_tokens, streamed, completion: completion.choices[0].text, models,
      schema: schema.choices[0].message.content, refused,
    };
  },

  async tools() {
    const asks = {
      model, temperature: 0, max_tokens: 60, messages: [{ role: 'user', content: 'What is the weather in Ulm?' }],
      tools: [{ type: 'function', function: { name: 'get_weather', description: 'Tells the weather of a city.', parameters: city } }],
      tool_choice: { type: 'function', function: { name: 'get_weather' } },
    };
    const answer = await client.chat.completions.create(asks);
    const call = answer.choices[0].message.tool_calls[0].function;
    const stream = client.chat.completions.stream(asks);
    const final = await stream.finalChatCompletion();
    return { name: call.name, arguments: call.arguments, streamed: final.choices[0].message.tool_calls[0].function.arguments };
  },

  async embeddings() {
    const { data } = await client.embeddings.create({ model, input: ['a cat', 'a dog'] });
    return { dimensions: data.map(one => one.embedding.length), length: Math.hypot(...data[0].embedding) };
  },

  async responses() {
    const question = { model, temperature: 0, max_output_tokens: 12, input: 'Why is the sky blue?' };
    const whole = await client.responses.create(question);
    let streamed = '';
    for await (const event of await client.responses.create({ ...question, stream: true }))
      if (event.type === 'response.output_text.delta')
        streamed += event.delta;
    return { whole: whole.output_text, streamed };
  },
};

console.log(JSON.stringify(await parts[part]()));

// What the client's parser makes of streams: a JSON list of streams in, each as its pieces in base64; outcomes out.
import { parser } from "../../../gateway/web/client/client.js";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);

const outcomes = JSON.parse(Buffer.concat(chunks)).map((pieces) => {
  const outcome = { events: [], retry: null, id: "" };
  const feed = parser(({ type, data, id, retry }) => {
    outcome.retry = retry ?? outcome.retry;
    outcome.id = id ?? outcome.id;
    if (type) outcome.events.push([type, data, id ?? null]);
  });
  for (const piece of pieces) feed(Buffer.from(piece, "base64"));
  return outcome;
});
console.log(JSON.stringify(outcomes));

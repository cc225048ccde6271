// Prints each event that npm's eventsource dispatches as a line of JSON, up to the event `last`.
import { EventSource } from "eventsource";

const source = new EventSource(process.argv[2]);
for (const type of ["x", "forged", "message", "gateway.gap", "last"]) {
  source.addEventListener(type, (event) => {
    console.log(JSON.stringify({ type, data: event.data, id: event.lastEventId }));
    if (type === "last") source.close();
  });
}
source.onerror = (error) => {
  console.error(String(error.message ?? error));
  process.exit(1);
};

// Drives `ConvexClient` of convex/browser: the client of plain JavaScript pages, here in Node.
import { ConvexClient } from "convex/browser";
import { anyApi } from "convex/server";
import { report, reportError, serve } from "./lines.mjs";

const client = new ConvexClient(process.argv[2], { skipConvexDeploymentUrlCheck: true, logger: false });
const subscriptions = new Map();
const reference = (path) => path.split(":").reduce((parent, name) => parent[name], anyApi);

await serve({
  subscribe({ as, path, args }) {
    subscriptions.set(
      as,
      client.onUpdate(
        reference(path),
        args,
        (value) => report("update", as, { value }),
        (error) => reportError("error", as, error),
      ),
    );
  },
  unsubscribe({ as }) {
    subscriptions.get(as)();
  },
  query: ({ path, args }) => client.query(reference(path), args),
  mutation: ({ path, args }) => client.mutation(reference(path), args),
  action: ({ path, args }) => client.action(reference(path), args),
});

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
  // Tokens come from `url`; what the client makes of them is an update of `as`.
  authenticate: ({ as, url }) =>
    client.setAuth(
      async () => (await fetch(url)).text(),
      (isAuthenticated) => report("update", as, { value: isAuthenticated }),
    ),
  signOut: async () => client.client.clearAuth(),
  // Many mutations, none waiting for another, each shown before the server knows of it.
  count: ({ path, args, shown, times }) => {
    const [query, queryArgs] = [reference(shown.path), shown.args];
    const optimisticUpdate = (store, { by }) => {
      const value = store.getQuery(query, queryArgs);
      if (value !== undefined) store.setQuery(query, queryArgs, value + by);
    };
    const runs = Array.from({ length: times }, () => client.mutation(reference(path), args, { optimisticUpdate }));
    return Promise.all(runs).then(() => null);
  },
});

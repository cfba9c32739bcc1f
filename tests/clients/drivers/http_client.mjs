// Drives `ConvexHttpClient`: one request a call, no subscriptions.
import { ConvexHttpClient } from "convex/browser";
import { anyApi } from "convex/server";
import { serve } from "./lines.mjs";

const client = new ConvexHttpClient(process.argv[2], { skipConvexDeploymentUrlCheck: true, logger: false });
const reference = (path) => path.split(":").reduce((parent, name) => parent[name], anyApi);

await serve({
  authenticate: async ({ url }) => client.setAuth(await (await fetch(url)).text()),
  signOut: async () => client.clearAuth(),
  // All of one client are read at one timestamp, that of the first.
  consistent: ({ path, args }) => client.consistentQuery(reference(path), args),
  query: ({ path, args }) => client.query(reference(path), args),
  mutation: ({ path, args }) => client.mutation(reference(path), args),
  action: ({ path, args }) => client.action(reference(path), args),
});

// Drives the React hooks in jsdom: what a component sees of useQuery is an update, what it throws is an error.
import { JSDOM } from "jsdom";

const { window } = new JSDOM("<!doctype html><body></body>", { url: "http://localhost/" });
const page = { window, document: window.document, navigator: window.navigator };
for (const [name, value] of Object.entries(page)) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true }); // Node's own navigator has no setter
}

const { Component, createElement, useCallback, useEffect } = await import("react");
const { createRoot } = await import("react-dom/client");
const { ConvexProvider, ConvexProviderWithAuth, ConvexReactClient, useAction, useConvexAuth, useMutation, usePaginatedQuery, useQuery } =
  await import("convex/react");
const { anyApi } = await import("convex/server");
const { default: WebSocket } = await import("ws");
const { report, reportError, serve } = await import("./lines.mjs");

const client = new ConvexReactClient(process.argv[2], {
  webSocketConstructor: WebSocket,
  skipConvexDeploymentUrlCheck: true,
  unsavedChangesWarning: false,
  logger: false,
});
const reference = (path) => path.split(":").reduce((parent, name) => parent[name], anyApi);
// A tree of its own for each component, so that one that fails leaves the others alone.
function mount(component, options) {
  const root = createRoot(document.createElement("div"), options);
  root.render(createElement(ConvexProvider, { client }, component));
  return root;
}

const mounted = new Map();

function Live({ as, path, args }) {
  const value = useQuery(reference(path), args);
  useEffect(() => {
    if (value !== undefined) report("update", as, { value });
  }, [as, value]);
  return null;
}

const pages = new Map(); // what the latest rendering of each paginated list has handed out

function Paginated({ as, path, args, size }) {
  const list = usePaginatedQuery(reference(path), args, { initialNumItems: size });
  pages.set(as, list);
  useEffect(() => {
    report("update", as, { value: { results: list.results, status: list.status } });
  }, [as, list.results, list.status]);
  return null;
}

// useQuery throws while rendering; an application catches that with an error boundary, and so does this.
class Boundary extends Component {
  state = { hasFailed: false };
  static getDerivedStateFromError = () => ({ hasFailed: true });
  componentDidCatch(error) {
    reportError("error", this.props.as, error);
  }
  render() {
    return this.state.hasFailed ? null : this.props.children;
  }
}

function call(hook, { path, args }) {
  return new Promise((resolve, reject) => {
    function Caller() {
      const run = hook(reference(path));
      useEffect(() => {
        run(args).then(resolve, reject);
      }, []);
      return null;
    }
    mount(createElement(Caller), { onUncaughtError: reject });
  });
}

function AuthState({ as }) {
  const { isLoading, isAuthenticated } = useConvexAuth();
  useEffect(() => {
    if (!isLoading) report("update", as, { value: isAuthenticated });
  }, [as, isLoading, isAuthenticated]);
  return null;
}

await serve({
  // Tokens come from `url`; what the provider makes of them is an update of `as`.
  authenticate({ as, url }) {
    const useAuth = () => {
      const fetchAccessToken = useCallback(async () => (await fetch(url)).text(), []);
      return { isLoading: false, isAuthenticated: true, fetchAccessToken };
    };
    const state = createElement(AuthState, { as });
    const root = createRoot(document.createElement("div"));
    root.render(createElement(ConvexProviderWithAuth, { client, useAuth }, state));
  },
  subscribe({ as, path, args }) {
    const boundary = createElement(Boundary, { as }, createElement(Live, { as, path, args }));
    mounted.set(as, mount(boundary, { onCaughtError: () => {} }));
  },
  paginate({ as, path, args, size }) {
    const boundary = createElement(Boundary, { as }, createElement(Paginated, { as, path, args, size }));
    mounted.set(as, mount(boundary, { onCaughtError: () => {} }));
  },
  more({ list, count }) {
    pages.get(list).loadMore(count);
  },
  unsubscribe({ as }) {
    mounted.get(as).unmount();
  },
  query: ({ path, args }) => client.query(reference(path), args),
  mutation: (command) => call(useMutation, command),
  action: (command) => call(useAction, command),
  signOut: async () => client.clearAuth(),
  // Many mutations, none waiting for another, each shown before the server knows of it.
  count: ({ path, args, shown, times }) => {
    const [query, queryArgs] = [reference(shown.path), shown.args];
    const useCounting = (mutation) => {
      const run = useMutation(mutation).withOptimisticUpdate((store, { by }) => {
        const value = store.getQuery(query, queryArgs);
        if (value !== undefined) store.setQuery(query, queryArgs, value + by);
      });
      return (given) => Promise.all(Array.from({ length: times }, () => run(given))).then(() => null);
    };
    return call(useCounting, { path, args });
  },
});

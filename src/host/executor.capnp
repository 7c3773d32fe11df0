# The executor: runs users' code behind the public socket. Addresses and the platform's settings come
# from the supervisor, on the command line and in the environment (workerd-process.ts).
@0xd1c5a3b7e9f04826;

using Workerd = import "/workerd/workerd.capnp";
using Compatibility = import "compatibility.capnp";

const config :Workerd.Config = (
  services = [
    (name = "mayfly", worker = .mayfly),
    (name = "state", external = (http = (capnpConnectHost = "miniflare-unsafe-internal-capnp-connect"))),
    (name = "shard", external = (http = (capnpConnectHost = "miniflare-unsafe-internal-capnp-connect"))),
  ],
  sockets = [
    (name = "public", http = (), service = "mayfly"),
    (name = "role", http = (capnpConnectHost = "miniflare-unsafe-internal-capnp-connect"), service = (name = "mayfly", entrypoint = "Executor")),
    (name = "ping", http = (), service = "mayfly"),
  ],
);

const mayfly :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = Compatibility.date,
  compatibilityFlags = Compatibility.flags,
  bindings = [
    (name = "LOADER", workerLoader = ()),
    (name = "STATE", service = "state"),
    (name = "SHARD", service = "shard"),
    (name = "MAYFLY_RUNTIME", text = "workerd"),
    (name = "MAYFLY_DOMAIN", fromEnvironment = "MAYFLY_DOMAIN"),
    (name = "MAYFLY_PORT", fromEnvironment = "MAYFLY_PORT"),
    (name = "MAYFLY_SUBDOMAIN", fromEnvironment = "MAYFLY_SUBDOMAIN"),
    (name = "MAYFLY_API_HOSTS", fromEnvironment = "MAYFLY_API_HOSTS"),
  ],
);

# The executor: runs users' code behind the public socket. Addresses and the platform's settings come
# from the supervisor, on the command line and in the environment (workerd-process.ts), which also
# repeats the lines that end in "each shard" for those that there are besides the first. Lanes are the same
# without a public socket, and without the lines that say so. In a sandbox there is no network: what else would
# be the network is the egress process.
@0xd1c5a3b7e9f04826;

using Workerd = import "/workerd/workerd.capnp";
using Compatibility = import "compatibility.capnp";
using Public = import "public.capnp"; # not in lanes

const config :Workerd.Config = (
  services = [
    (name = "mayfly", worker = .mayfly),
    (name = "state", external = (http = (capnpConnectHost = "miniflare-unsafe-internal-capnp-connect"))),
    (name = "shard-1", external = (http = (capnpConnectHost = "miniflare-unsafe-internal-capnp-connect"))), # each shard
    (name = "apart", external = (http = (capnpConnectHost = "miniflare-unsafe-internal-capnp-connect"))),
    (name = "long", external = (http = (capnpConnectHost = "miniflare-unsafe-internal-capnp-connect"))),
    (name = "internet", external = (http = (style = proxy))), # in a sandbox
  ],
  sockets = [
    Public.socket, # not in lanes
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
    (name = "SHARD_1", service = "shard-1"), # each shard
    (name = "EXECUTOR_APART", service = "apart"),
    (name = "EXECUTOR_LONG", service = "long"),
    (name = "MAYFLY_LANE", fromEnvironment = "MAYFLY_LANE"),
    (name = "MAYFLY_CPU_MS", fromEnvironment = "MAYFLY_CPU_MS"),
    (name = "MAYFLY_MAX_CPU_MS", fromEnvironment = "MAYFLY_MAX_CPU_MS"),
    (name = "MAYFLY_MEMORY_MB", fromEnvironment = "MAYFLY_MEMORY_MB"),
    (name = "MAYFLY_FLIGHT_MARK", fromEnvironment = "MAYFLY_FLIGHT_MARK"),
    (name = "MAYFLY_EGRESS_MARK", fromEnvironment = "MAYFLY_EGRESS_MARK"),
    (name = "OTEL_TRACES_EXPORTER", fromEnvironment = "OTEL_TRACES_EXPORTER"),
    (name = "OTEL_TRACES_SAMPLER_ARG", fromEnvironment = "OTEL_TRACES_SAMPLER_ARG"),
    (name = "OTEL_SERVICE_NAME", fromEnvironment = "OTEL_SERVICE_NAME"),
    (name = "MAYFLY_RUNTIME", text = "workerd"),
    (name = "MAYFLY_DOMAIN", fromEnvironment = "MAYFLY_DOMAIN"),
    (name = "MAYFLY_PORT", fromEnvironment = "MAYFLY_PORT"),
    (name = "MAYFLY_TRUSTED_PROXIES", fromEnvironment = "MAYFLY_TRUSTED_PROXIES"),
    (name = "MAYFLY_SUBDOMAIN", fromEnvironment = "MAYFLY_SUBDOMAIN"),
    (name = "MAYFLY_API_HOSTS", fromEnvironment = "MAYFLY_API_HOSTS"),
  ],
);

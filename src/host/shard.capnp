# A shard: keeps users' databases and runs their SQL. Nothing of the platform's own is in it, since a
# query can make it stand still; the watchdog ends it then.
@0xe3a95c07d1b84f62;

using Workerd = import "/workerd/workerd.capnp";
using Compatibility = import "compatibility.capnp";

const config :Workerd.Config = (
  services = [
    (name = "mayfly", worker = .mayfly),
    (name = "data", disk = (writable = true)),
    (name = "state", external = (http = (capnpConnectHost = "miniflare-unsafe-internal-capnp-connect"))),
    (name = "internet", network = (allow = [])),
  ],
  sockets = [
    (name = "role", http = (capnpConnectHost = "miniflare-unsafe-internal-capnp-connect"), service = (name = "mayfly", entrypoint = "Shard")),
  ],
);

const mayfly :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = Compatibility.date,
  compatibilityFlags = Compatibility.flags,
  # The key is part of the objects' ids, which name their files: with another one they are not found.
  durableObjectNamespaces = [(className = "DatabaseObject", uniqueKey = "mayfly-DatabaseObject", enableSql = true)],
  durableObjectStorage = (localDisk = "data"),
  bindings = [
    (name = "DATABASES", durableObjectNamespace = "DatabaseObject"),
    (name = "STATE", service = "state"),
    (name = "MAYFLY_RUNTIME", text = "workerd"),
    (name = "MAYFLY_QUERY_MS", fromEnvironment = "MAYFLY_QUERY_MS"),
    (name = "MAYFLY_PAUSED", fromEnvironment = "MAYFLY_PAUSED"),
    (name = "MAYFLY_FLIGHT_MARK", fromEnvironment = "MAYFLY_FLIGHT_MARK"),
  ],
);

/** The patterns of names.ts by themselves, for what has to start fast and checks no more than these. */

/** Stack, service, network-key, volume and node names: as Compose's project names, 63 characters at most (a DNS label, RFC 1123). */
export const NAME_PATTERN = /^[a-z0-9][a-z0-9_-]{0,62}$/;
/** Compose allows upper case, dots in service keys; a name that must resolve may not have them. */
export const SERVICE_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}$/;
/** A DNS alias or host name: labels of RFC 1123, underscores tolerated as Docker does. */
export const HOSTNAME_PATTERN =
  /^(?=.{1,253}$)[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)*$/;
/** Ids we make: lower-case hex. */
export const ID_PATTERN = /^[0-9a-f]{8,64}$/;
/** Names of networks and volumes as the cluster knows them: `<stack>_<key>`, or the `name:` a user gave. */
export const GLOBAL_NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/** How long an answer to a name may be kept by who asked, in seconds, where neither the service nor the cluster says. */
export const DEFAULT_TTL_SECONDS = 5;
/** One day. */
export const MAX_TTL_SECONDS = 86_400;

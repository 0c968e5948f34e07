/** The greatest `totalNodes`. */
export const MAX_NODES = 32;
/** The same with `strict: true`, as in CLUSTERIP. */
export const MAX_CLUSTERIP_NODES = 16;
export const MAX_BUCKETS = 1023;
export const MAX_INTERFACES = 64;

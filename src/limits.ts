export const MAX_NODES = 32;
/** Of CLUSTERIP, and so with `strict: true`. */
export const MAX_CLUSTERIP_NODES = 16;
export const MAX_BUCKETS = 1023;
export const MAX_INTERFACES = 64;

/**
 * What a reason to wait says besides how many nodes it is said of: `2 nodes: 1 drained, 1 paused` is another than `2 nodes: 2 drained`, and the same
 * as `9 nodes: 4 drained, 5 paused`. That nodes go from one to the other is told of the nodes, and `ctl ps` has the numbers.
 */
export const kindOfReason = (why: string): string =>
  why.replaceAll(/\b\d+ nodes?: (?:\d+ [^()]*)/g, (counted) => counted.replace(/^\d+ nodes?: /, '').replaceAll(/(^|, )\d+ /g, '$1'));

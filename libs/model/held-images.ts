/**
 * Which images a node has, as it tells the controllers: short, since it is told of every node and only decides between equals. A
 * mark is the beginning of a digest; that two images have the same one costs nothing but a fetch.
 */

/** Hexadecimal digits of a mark. */
const MARK_DIGITS = 12;

export const IMAGE_MARK = /^[0-9a-f]{12}$/;

/** A node with more images tells of so many: the rest counts as not there. */
export const MOST_IMAGES_TOLD = 256;

/** @param digest `sha256:…`; undefined for what is no digest */
export const markOfImage = (digest: string | undefined): string | undefined =>
  /^sha256:[0-9a-f]{64}$/.test(digest ?? '') ? digest?.slice('sha256:'.length).slice(0, MARK_DIGITS) : undefined;

/** The same for the same images, in whatever order they are listed. @param digests `sha256:…`, some of them perhaps twice */
export const marksOfImages = (digests: readonly string[]): string[] =>
  [...new Set(digests.flatMap((digest) => markOfImage(digest) ?? []))].sort().slice(0, MOST_IMAGES_TOLD);

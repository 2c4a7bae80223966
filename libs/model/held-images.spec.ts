import { MOST_IMAGES_TOLD, markOfImage, marksOfImages } from './held-images.js';
import { nodeFactsSchema } from './node.js';

const digest = (n: number): string => `sha256:${n.toString(16).padStart(64, n % 2 ? '1' : '0')}`;

describe('what a node tells of its images', () => {
  it('is sorted, without repetition, and without what is no digest', () => {
    const first = `sha256:${'a'.repeat(64)}`;
    const second = `sha256:${'0'.repeat(64)}`;
    expect(marksOfImages([first, second, first, 'latest', 'sha256:zz'])).toEqual(['000000000000', 'aaaaaaaaaaaa']);
    expect([markOfImage(first), markOfImage('x'), markOfImage(undefined)]).toEqual(['aaaaaaaaaaaa', undefined, undefined]);
  });

  it('is bounded, and what its facts take', () => {
    const many = Array.from({ length: 1_000 }, (_, n) => `sha256:${n.toString(16).padStart(12, '0')}${'0'.repeat(52)}`);
    const images = marksOfImages(many);
    expect(images).toHaveLength(MOST_IMAGES_TOLD);
    expect(nodeFactsSchema.parse({ nodeId: 'aaaaaaaaaaaaaaaa', at: 0, images }).images).toEqual(images);
    expect(nodeFactsSchema.safeParse({ nodeId: 'aaaaaaaaaaaaaaaa', at: 0, images: marksOfImages([digest(1)]) }).success).toBe(true);
    expect(nodeFactsSchema.safeParse({ nodeId: 'aaaaaaaaaaaaaaaa', at: 0, images: ['; drop'] }).success).toBe(false);
  });
});

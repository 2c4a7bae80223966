/** Text from elsewhere, safe to show on a terminal: a control character in a name or message could move the cursor or recolour the screen. */
const CONTROL = /[\p{Cc}\u2028\u2029]/gu;

/** One line: line ends become spaces, other control characters "?". */
export const printable = (text: string): string => text.replace(/[\r\n\t]+/g, ' ').replace(CONTROL, '?');

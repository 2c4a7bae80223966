/** What a plain text means by YAML 1.2's core schema, but for the octal numbers of Compose. @returns undefined for what is a text */
export function plainValue(text: string): number | boolean | null | undefined {
  const first = text.charCodeAt(0);
  // Most plain texts begin with a letter that begins no number, null, true or false.
  if (first > 0x39 && first !== 0x7e && !'nNtTfF'.includes(text.charAt(0))) return undefined;
  if (/^(?:~|null|Null|NULL)?$/.test(text)) return null;
  if (/^(?:true|True|TRUE)$/.test(text)) return true;
  if (/^(?:false|False|FALSE)$/.test(text)) return false;
  // A leading zero is octal to Compose, though not to YAML 1.2.
  if (/^[-+]?0[0-7]+$/.test(text)) return parseInt(text, 8);
  if (/^[-+]?\d+$/.test(text)) return Number(text);
  if (/^0o[0-7]+$/.test(text)) return parseInt(text.slice(2), 8);
  if (/^0x[\da-fA-F]+$/.test(text)) return parseInt(text.slice(2), 16);
  if (/^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/.test(text)) return Number(text);
  if (/^[-+]?\.(?:inf|Inf|INF)$/.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  return /^\.(?:nan|NaN|NAN)$/.test(text) ? NaN : undefined;
}

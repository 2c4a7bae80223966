/** The mutated files, part 3 of 4. */
import { fuzzPart } from './fuzz.js';

fuzzPart(2);

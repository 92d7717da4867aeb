import { InvalidOption } from '../errors.ts'
import { parseOptions, passedThrough, shape, wholeNumber } from './options.ts'

/** How responses are stored: what is taken out of them, and how they are locked up. */
export interface EffectBodies {
  /**
   * Takes out of a response, or of a refusal, what may not be stored: card numbers, tokens. What it returns is stored and is
   * what every caller gets, the first one too, so that a duplicate takes the same branch. @default stored as it is
   */
  readonly redact?: (body: unknown, operation: string) => unknown
  /** Encrypts the text of a body before it is stored. @default stored readable */
  readonly seal?: (text: string, operation: string) => string | Promise<string>
  /** Decrypts what `seal` made. Needed with `seal`. */
  readonly unseal?: (sealed: string, operation: string) => string | Promise<string>
  /** How large a body may be, in bytes of JSON. @default 65_536 */
  readonly responseBytes?: number
}

const OPTIONS = shape((z) =>
  z.strictObject({
    redact: passedThrough<EffectBodies['redact']>().optional(),
    seal: passedThrough<EffectBodies['seal']>().optional(),
    unseal: passedThrough<EffectBodies['unseal']>().optional(),
    responseBytes: wholeNumber(1, 1_048_576).optional(),
  }),
)

/** Checked at construction: a body that is sealed can be opened. */
export function effectBodies(given: EffectBodies): EffectBodies {
  const options = parseOptions(OPTIONS, given)
  if (options.seal && !options.unseal)
    throw new InvalidOption('effects.seal', 'effects.unseal is missing, and nothing could be read again')
  return options as EffectBodies
}

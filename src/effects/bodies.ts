import { EffectResponseRefused, InvalidMessage } from '../errors.ts'
import { jsonText } from '../rules/json-text.ts'

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

export interface StoredBody {
  readonly response: string | undefined
  readonly sealed: boolean
}

/** A body as it is stored, and as everybody gets it. */
export interface KeptBody extends StoredBody {
  readonly body: unknown
}

export const NO_BODY: KeptBody = Object.freeze({ response: undefined, sealed: false, body: undefined })

export const RESPONSE_BYTES = 65_536

/** Turns responses into what is stored, and back. */
export class Bodies {
  readonly #options: EffectBodies

  constructor(options: EffectBodies) {
    this.#options = options
  }

  /** Throws an `EffectResponseRefused` for what cannot be stored. */
  async keep(operation: string, given: unknown): Promise<KeptBody> {
    const { redact, seal } = this.#options
    const text = this.#textOf(operation, redact ? redact(given, operation) : given)
    if (text === undefined) return NO_BODY
    const body = JSON.parse(text)
    if (!seal) return { response: text, sealed: false, body }
    return { response: await seal(text, operation), sealed: true, body }
  }

  async open(operation: string, { response, sealed }: StoredBody): Promise<unknown> {
    if (response === undefined) return undefined
    if (!sealed) return JSON.parse(response)
    const { unseal } = this.#options
    if (!unseal) throw new EffectResponseRefused(operation, 'it is sealed, and there is no effects.unseal to open it')
    return JSON.parse(await unseal(response, operation))
  }

  // Once through JSON, so that instances with a toJSON are what they say they are, and then checked as any payload is.
  #textOf(operation: string, body: unknown): string | undefined {
    if (body === undefined) return undefined
    const { responseBytes = RESPONSE_BYTES } = this.#options
    try {
      const plain = JSON.stringify(body)
      if (plain === undefined) return undefined
      return jsonText(JSON.parse(plain), responseBytes, { messageType: operation, path: 'response' })
    } catch (error) {
      const reason =
        error instanceof InvalidMessage ? error.message.replace(/^.*?": /, '') : 'it cannot be written as JSON'
      throw new EffectResponseRefused(operation, reason, { cause: error })
    }
  }
}

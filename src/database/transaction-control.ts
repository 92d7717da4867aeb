import { TransactionControlRefused } from '../errors.ts'

// A statement begins at the start, after a semicolon, or after a comment; a match here only earns a closer look.
const SUSPICIOUS = /(?:^|;|\*\/|\n)\s*(?:begin|start|commit|end|rollback|abort|prepare)\b/i

// What may hold a semicolon or a word that means nothing: strings, identifiers, dollar quotes, comments.
const OPAQUE =
  /(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$([A-Za-z_][A-Za-z0-9_]*)?\$[\s\S]*?\$\1\$|--[^\n]*|\/\*[\s\S]*?\*\//g

const CONTROL =
  /^\s*(begin|start\s+transaction|commit|end|abort|prepare\s+transaction|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b/i

/** Throws for a statement that begins or ends a transaction; savepoints are allowed. */
export function refuseTransactionControl(text: string): void {
  if (!SUSPICIOUS.test(text)) return
  for (const statement of text.replace(OPAQUE, blank).split(';')) {
    const found = CONTROL.exec(statement)
    if (found) throw new TransactionControlRefused(found[1]!.replace(/\s+/g, ' ').toUpperCase())
  }
}

function blank(opaque: string): string {
  return /^(--|\/\*)/.test(opaque) ? ' ' : "''"
}

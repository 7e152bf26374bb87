package hopproof

// SignatureBase is the builder of signature bases, for the vectors of RFC 9421, which cover other components.
var SignatureBase = signatureBase

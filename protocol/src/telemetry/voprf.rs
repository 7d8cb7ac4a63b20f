//! Tokens that prove an opted-in installation without saying which: a verifiable oblivious pseudorandom function
//! (RFC 9497, mode VOPRF, suite ristretto255-SHA512) behind traits of ours, so that its library can be exchanged.
//!
//! The client blinds random inputs; the issuer evaluates them with the week's key, without seeing them, and proves that
//! it used that very key; the client unblinds. What it holds then the issuer can check, and cannot recognise.

use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use voprf_ng::{BlindedElement, EvaluationElement, Group as _, Ristretto255, VoprfClient, VoprfServer};
use zeroize::{Zeroize as _, Zeroizing};

use super::token::{Element, Proof, Token, TokenKey};

/// Why no tokens were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The system's generator fails.
    #[error("the system's random generator fails")]
    Random,
    /// Not an encoded group element, or the neutral one.
    #[error("a group element is not valid")]
    Element,
    /// The key is not one.
    #[error("a token key is not valid")]
    Key,
    /// Another number of elements came back than went out.
    #[error("the batch has another size than was asked for")]
    Count,
    /// The proof does not fit: the issuer used another key than the one that everyone gets.
    #[error("the issuer does not prove that it used the week's key")]
    Proof,
}

/// A token that was asked for: the input and the blind, kept until the batch has come. Secret; wiped when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pending {
    /// Input (32 bytes), blind (32 bytes), blinded element (32 bytes).
    bytes: [u8; 96],
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending(…)")
    }
}

impl TryFrom<String> for Pending {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, &'static str> {
        Token::try_from(text).map(|raw| Self { bytes: raw.0 })
    }
}

impl From<Pending> for String {
    fn from(pending: Pending) -> Self {
        Token(pending.bytes).into()
    }
}

impl Pending {
    /// What is sent for it.
    #[must_use]
    pub fn blinded(&self) -> Element {
        let mut element = [0u8; 32];
        element.copy_from_slice(&self.bytes[64..]);
        Element(element)
    }
}

/// The side that asks for tokens and spends them.
pub trait TokenClient {
    /// Draws `count` random inputs and blinds them.
    ///
    /// # Errors
    /// [`TokenError::Random`].
    fn blind(&self, count: usize, rng: &dyn SecureRandom) -> Result<Vec<Pending>, TokenError>;

    /// Checks the proof over the whole batch and gives the tokens, in order.
    ///
    /// # Errors
    /// [`TokenError`]; no token is given then.
    fn finish(
        &self,
        pending: &[Pending],
        evaluated: &[Element],
        proof: &Proof,
        key: &TokenKey,
    ) -> Result<Vec<Token>, TokenError>;
}

/// The side that makes tokens, and takes them.
pub trait TokenIssuer {
    /// The public half of its key.
    fn public(&self) -> TokenKey;

    /// Evaluates a batch and proves it.
    ///
    /// # Errors
    /// [`TokenError::Element`] for a bad element, [`TokenError::Random`].
    fn evaluate(
        &self,
        blinded: &[Element],
        rng: &dyn SecureRandom,
    ) -> Result<(Vec<Element>, Proof), TokenError>;

    /// Whether a token was made with this key. Takes the same time for every wrong output.
    fn verify(&self, token: &Token) -> bool;
}

/// [`TokenClient`] by the library.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blinder;

/// [`TokenIssuer`] by the library.
#[derive(Clone)]
pub struct Issuer {
    server: VoprfServer<Ristretto255>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({})", self.public())
    }
}

impl Issuer {
    /// The issuer of a 32-byte seed (RFC 9497 section 3.2.1, `DeriveKeyPair`); `info` tells keys of one seed apart.
    ///
    /// # Errors
    /// [`TokenError::Key`] for an `info` longer than 65,000 bytes.
    pub fn from_seed(seed: &[u8; 32], info: &[u8]) -> Result<Self, TokenError> {
        VoprfServer::new_from_seed(seed, info).map(|server| Self { server }).map_err(|_| TokenError::Key)
    }
}

impl TokenClient for Blinder {
    fn blind(&self, count: usize, rng: &dyn SecureRandom) -> Result<Vec<Pending>, TokenError> {
        let one = || {
            let mut bytes = Zeroizing::new([0u8; 96]);
            rng.fill(&mut bytes[..32]).map_err(|_| TokenError::Random)?;
            let state = blind(&bytes[..32], &mut Random(rng))?;
            bytes[32..].copy_from_slice(&*state);
            Ok(Pending { bytes: *bytes })
        };
        std::iter::repeat_with(one).take(count).collect()
    }

    fn finish(
        &self,
        pending: &[Pending],
        evaluated: &[Element],
        proof: &Proof,
        key: &TokenKey,
    ) -> Result<Vec<Token>, TokenError> {
        let inputs: Vec<&[u8]> = pending.iter().map(|p| &p.bytes[..32]).collect();
        let states: Vec<&[u8]> = pending.iter().map(|p| &p.bytes[32..]).collect();
        let outputs = unblind(&inputs, &states, evaluated, proof, key)?;
        let token = |(p, output): (&Pending, &[u8; 64])| {
            let mut bytes = [0u8; 96];
            bytes[..32].copy_from_slice(&p.bytes[..32]);
            bytes[32..].copy_from_slice(output);
            Token(bytes)
        };
        Ok(pending.iter().zip(&outputs).map(token).collect())
    }
}

impl TokenIssuer for Issuer {
    fn public(&self) -> TokenKey {
        TokenKey(Ristretto255::serialize_elem(self.server.get_public_key()).into())
    }

    fn evaluate(
        &self,
        blinded: &[Element],
        rng: &dyn SecureRandom,
    ) -> Result<(Vec<Element>, Proof), TokenError> {
        self.evaluate_with(blinded, &mut Random(rng))
    }

    fn verify(&self, token: &Token) -> bool {
        match self.server.evaluate(token.input()) {
            // Compared in constant time, so that an output cannot be guessed byte by byte.
            Ok(output) => output.iter().zip(token.output()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0,
            Err(_) => false,
        }
    }
}

impl Issuer {
    fn evaluate_with<R: rand_core::TryCryptoRng>(
        &self,
        blinded: &[Element],
        rng: &mut R,
    ) -> Result<(Vec<Element>, Proof), TokenError> {
        if blinded.is_empty() {
            return Err(TokenError::Count);
        }
        let blinded: Vec<BlindedElement<Ristretto255>> = blinded
            .iter()
            .map(|e| BlindedElement::deserialize(&e.0).map_err(|_| TokenError::Element))
            .collect::<Result<_, _>>()?;
        let result = self.server.batch_blind_evaluate(rng, &blinded).map_err(|e| match e {
            voprf_ng::Error::Batch => TokenError::Count,
            _ => TokenError::Random,
        })?;
        let elements = result.messages.iter().map(|m| Element(m.serialize().into())).collect();
        Ok((elements, Proof(result.proof.serialize().into())))
    }
}

/// Blinds an input: the blind and the blinded element.
fn blind<R: rand_core::TryCryptoRng>(input: &[u8], rng: &mut R) -> Result<Zeroizing<[u8; 64]>, TokenError> {
    let blinded = VoprfClient::<Ristretto255>::blind(input, rng).map_err(|_| TokenError::Random)?;
    Ok(Zeroizing::new(blinded.state.serialize().into()))
}

/// Checks the proof over the batch and gives the outputs.
fn unblind(
    inputs: &[&[u8]],
    states: &[&[u8]],
    evaluated: &[Element],
    proof: &Proof,
    key: &TokenKey,
) -> Result<Vec<[u8; 64]>, TokenError> {
    if inputs.len() != evaluated.len() || inputs.is_empty() {
        return Err(TokenError::Count);
    }
    let clients: Vec<VoprfClient<Ristretto255>> = states
        .iter()
        .map(|state| VoprfClient::deserialize(state).map_err(|_| TokenError::Element))
        .collect::<Result<_, _>>()?;
    let messages: Vec<EvaluationElement<Ristretto255>> = evaluated
        .iter()
        .map(|e| EvaluationElement::deserialize(&e.0).map_err(|_| TokenError::Element))
        .collect::<Result<_, _>>()?;
    let proof = voprf_ng::Proof::deserialize(&proof.0).map_err(|_| TokenError::Proof)?;
    let key = Ristretto255::deserialize_elem(&key.0).map_err(|_| TokenError::Key)?;
    let inputs = inputs.to_vec();
    VoprfClient::batch_finalize(&inputs, &clients, &messages, &proof, key)
        .map_err(|_| TokenError::Proof)?
        .map(|output| output.map(Into::into).map_err(|_| TokenError::Element))
        .collect()
}

/// `ring`'s generator as the library wants one.
struct Random<'a>(&'a dyn SecureRandom);

impl rand_core::TryRng for Random<'_> {
    type Error = TokenError;

    fn try_next_u32(&mut self) -> Result<u32, TokenError> {
        let mut bytes = [0u8; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, TokenError> {
        let mut bytes = [0u8; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), TokenError> {
        self.0.fill(out).map_err(|_| TokenError::Random)
    }
}

impl rand_core::TryCryptoRng for Random<'_> {}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use ring::rand::SystemRandom;

    use super::*;

    /// RFC 9497, appendix A.1.2: ristretto255-SHA512, VOPRF mode, vectors 1 to 3.
    const SEED: &str = "a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3a3";
    const PUBLIC: &str = "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e";
    const BLINDS: [&str; 2] = [
        "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
        "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
    ];
    const OUTPUTS: [&str; 2] = [
        "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7da4d8527693914139caee5bd03903af43a491351d23b430948dd50cde10d32b3c",
        "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60356f4610bf816f27afdd84f47719e480906d27ecd994985890e5f539e7ea74b6",
    ];

    struct Vector {
        inputs: &'static [&'static str],
        blinds: &'static [&'static str],
        blinded: &'static [&'static str],
        evaluated: &'static [&'static str],
        proof: &'static str,
        proof_scalar: &'static str,
        outputs: &'static [&'static str],
    }

    const VECTORS: [Vector; 3] = [
        Vector {
            inputs: &["00"],
            blinds: &[BLINDS[0]],
            blinded: &["863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945"],
            evaluated: &["aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e"],
            proof: "ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd066d4346421d17bf5117a2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d",
            proof_scalar: BLINDS[1],
            outputs: &[OUTPUTS[0]],
        },
        Vector {
            inputs: &["5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"],
            blinds: &[BLINDS[0]],
            blinded: &["cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c"],
            evaluated: &["60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468"],
            proof: "401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a67154fabf031fd936051dec80b0b6ae29c9503493dde7393b722eafdf5a50b02",
            proof_scalar: BLINDS[1],
            outputs: &[OUTPUTS[1]],
        },
        Vector {
            inputs: &["00", "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a"],
            blinds: &BLINDS,
            blinded: &[
                "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
                "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
            ],
            evaluated: &[
                "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e",
                "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a",
            ],
            proof: "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08",
            proof_scalar: "419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c",
            outputs: &OUTPUTS,
        },
    ];

    /// Gives the bytes that the vectors were made with.
    struct Fixed(Vec<u8>);

    impl rand_core::TryRng for Fixed {
        type Error = TokenError;
        fn try_next_u32(&mut self) -> Result<u32, TokenError> {
            Err(TokenError::Random)
        }
        fn try_next_u64(&mut self) -> Result<u64, TokenError> {
            Err(TokenError::Random)
        }
        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), TokenError> {
            if self.0.len() < out.len() {
                return Err(TokenError::Random);
            }
            out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
            Ok(())
        }
    }
    impl rand_core::TryCryptoRng for Fixed {}

    fn hex(text: &str) -> Vec<u8> {
        HEXLOWER.decode(text.as_bytes()).unwrap()
    }
    fn fixed<const N: usize>(text: &str) -> [u8; N] {
        hex(text).try_into().unwrap()
    }

    #[test]
    fn the_vectors_of_rfc_9497_hold() {
        let issuer = Issuer::from_seed(&fixed(SEED), b"test key").unwrap();
        assert_eq!(issuer.public().0, fixed(PUBLIC));
        for v in VECTORS {
            let inputs: Vec<Vec<u8>> = v.inputs.iter().map(|i| hex(i)).collect();
            let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            let states: Vec<_> = inputs
                .iter()
                .zip(v.blinds)
                .map(|(input, scalar)| blind(input, &mut Fixed(hex(scalar))).unwrap())
                .collect();
            let blinded: Vec<Element> = states.iter().map(|s| Element(s[32..].try_into().unwrap())).collect();
            assert_eq!(blinded, v.blinded.iter().map(|e| Element(fixed(e))).collect::<Vec<_>>());
            let (evaluated, proof) = issuer.evaluate_with(&blinded, &mut Fixed(hex(v.proof_scalar))).unwrap();
            assert_eq!(evaluated, v.evaluated.iter().map(|e| Element(fixed(e))).collect::<Vec<_>>());
            assert_eq!(proof.0, fixed(v.proof));
            let states: Vec<&[u8]> = states.iter().map(|s| s.as_slice()).collect();
            let outputs = unblind(&inputs, &states, &evaluated, &proof, &issuer.public()).unwrap();
            assert_eq!(outputs, v.outputs.iter().map(|o| fixed(o)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_batch_is_made_checked_and_taken() {
        let rng = SystemRandom::new();
        let issuer = Issuer::from_seed(&[7; 32], b"2026-W48").unwrap();
        let pending = Blinder.blind(4, &rng).unwrap();
        let stored: Vec<Pending> = serde_json::from_str(&serde_json::to_string(&pending).unwrap()).unwrap();
        assert!(stored == pending);
        let asked: Vec<Element> = pending.iter().map(Pending::blinded).collect();
        let (evaluated, proof) = issuer.evaluate(&asked, &rng).unwrap();
        let tokens = Blinder.finish(&stored, &evaluated, &proof, &issuer.public()).unwrap();
        assert!(tokens.iter().all(|t| issuer.verify(t)));
        // What the issuer saw is nowhere in what it is shown later.
        for token in &tokens {
            for seen in asked.iter().chain(&evaluated) {
                assert!(token.0.windows(32).all(|w| w != seen.0));
            }
        }
        // The same request again gives the same tokens: a retry is harmless.
        let (again, proof) = issuer.evaluate(&asked, &rng).unwrap();
        assert!(Blinder.finish(&pending, &again, &proof, &issuer.public()).unwrap() == tokens);
        for at in [0, 31, 32, 95] {
            let mut forged = tokens[0];
            forged.0[at] ^= 1;
            assert!(!issuer.verify(&forged), "byte {at}");
        }
    }

    #[test]
    fn an_issuer_that_uses_another_key_gets_nothing() {
        let rng = SystemRandom::new();
        let (week, tagged) =
            (Issuer::from_seed(&[7; 32], b"week").unwrap(), Issuer::from_seed(&[7; 32], b"tagged").unwrap());
        let pending = Blinder.blind(3, &rng).unwrap();
        let asked: Vec<Element> = pending.iter().map(Pending::blinded).collect();
        let (evaluated, proof) = tagged.evaluate(&asked, &rng).unwrap();
        let finish = |e: &[Element], p: &Proof, k: &TokenKey| Blinder.finish(&pending, e, p, k).unwrap_err();
        assert_eq!(finish(&evaluated, &proof, &week.public()), TokenError::Proof);
        // One element of another key among right ones.
        let (mut mixed, proof) = week.evaluate(&asked, &rng).unwrap();
        mixed[1] = evaluated[1];
        assert_eq!(finish(&mixed, &proof, &week.public()), TokenError::Proof);
        assert_eq!(finish(&mixed[..2], &proof, &week.public()), TokenError::Count);
        assert_eq!(finish(&[Element([0; 32]); 3], &proof, &week.public()), TokenError::Element);
        assert_eq!(finish(&mixed, &Proof([0xff; 64]), &week.public()), TokenError::Proof);
        assert_eq!(finish(&mixed, &proof, &TokenKey([0; 32])), TokenError::Key);
        assert_eq!(week.evaluate(&[Element([0; 32])], &rng).unwrap_err(), TokenError::Element);
        assert_eq!(week.evaluate(&[Element([0xff; 32])], &rng).unwrap_err(), TokenError::Element);
        assert_eq!(week.evaluate(&[], &rng).unwrap_err(), TokenError::Count);
    }
}

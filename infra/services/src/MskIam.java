package lyceum;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.net.URI;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerTokenCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * Judges tokens as the IAM listener of Amazon MSK does: each is a request to the cluster, signed beforehand, as a URL in
 * base64. The options of the JAAS entry are the region and a line for each access key: its secret and for how many
 * seconds its tokens are taken.
 *
 * Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html,
 * https://github.com/aws/aws-msk-iam-auth#uriencode
 */
public final class MskIam implements AuthenticateCallbackHandler {
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'");
    private static final String SERVICE = "kafka-cluster";

    private Map<String, ?> options;

    private record Token(String value, Long startTimeMs, long lifetimeMs, String principalName)
            implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of();
        }
    }

    private static final class Refused extends Exception {
        Refused(String why) {
            super(why);
        }
    }

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
        options = entries.get(0).getOptions();
    }

    @Override
    public void close() {}

    @Override
    public void handle(Callback[] callbacks) throws IOException, UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (callback instanceof OAuthBearerValidatorCallback asked) {
                try {
                    asked.token(judge(asked.tokenValue()));
                } catch (Refused | RuntimeException why) {
                    System.err.println("a token of IAM is refused: " + why.getMessage());
                    asked.error("access_denied", null, null);
                } catch (GeneralSecurityException error) {
                    throw new IOException(error);
                }
            } else if (!(callback instanceof OAuthBearerTokenCallback)) {
                // A broker asks for a token of its own, too, and needs none: it is nobody's client.
                throw new UnsupportedCallbackException(callback);
            }
        }
    }

    private Token judge(String value) throws Refused, GeneralSecurityException {
        URI uri = URI.create(new String(Base64.getUrlDecoder().decode(value), UTF_8));
        Map<String, String> query = new TreeMap<>();
        for (String pair : uri.getRawQuery().split("&")) {
            String[] parts = pair.split("=", 2);
            query.put(URLDecoder.decode(parts[0], UTF_8), URLDecoder.decode(parts[1], UTF_8));
        }
        String region = (String) options.get("region");
        String host = "kafka." + region + ".amazonaws.com";
        must(uri.getScheme().equals("https") && host.equals(uri.getHost()), "it is for " + uri.getHost());
        must((SERVICE + ":Connect").equals(query.get("Action")), "the action is " + query.get("Action"));
        must("AWS4-HMAC-SHA256".equals(query.get("X-Amz-Algorithm")), "another algorithm");
        must("host".equals(query.get("X-Amz-SignedHeaders")), "other headers are signed");

        String time = query.get("X-Amz-Date");
        String scope = String.join("/", time.substring(0, 8), region, SERVICE, "aws4_request");
        String[] credential = query.get("X-Amz-Credential").split("/", 2);
        must(scope.equals(credential[1]), "the scope is " + credential[1]);
        String known = (String) options.get(credential[0]);
        must(known != null, "nobody has the access key " + credential[0]);
        String[] secretAndSeconds = known.split(" ");

        long start = LocalDateTime.parse(time, TIME).toInstant(ZoneOffset.UTC).toEpochMilli();
        long seconds = Math.min(Long.parseLong(query.get("X-Amz-Expires")), Long.parseLong(secretAndSeconds[1]));
        long end = start + 1000 * seconds;
        must(seconds <= 900 && Instant.now().toEpochMilli() < end, "it ended at " + Instant.ofEpochMilli(end));

        // What was added after signing: the signature, and who signed.
        String signature = query.remove("X-Amz-Signature");
        query.remove("User-Agent");
        StringBuilder canonical = new StringBuilder();
        query.forEach((name, text) ->
            canonical.append(canonical.isEmpty() ? "" : "&").append(encode(name)).append('=').append(encode(text)));
        String request = String.join("\n", "GET", "/", canonical, "host:" + host, "", "host", hash(""));
        byte[] key = ("AWS4" + secretAndSeconds[0]).getBytes(UTF_8);
        for (String part : scope.split("/")) {
            key = sign(key, part);
        }
        String toSign = String.join("\n", "AWS4-HMAC-SHA256", time, scope, hash(request));
        must(HexFormat.of().formatHex(sign(key, toSign)).equals(signature), "the signature is another");
        return new Token(value, start, end, credential[0]);
    }

    private static void must(boolean holds, String why) throws Refused {
        if (!holds) {
            throw new Refused(why);
        }
    }

    private static String encode(String text) {
        return URLEncoder.encode(text, UTF_8).replace("+", "%20").replace("*", "%2A").replace("%7E", "~");
    }

    private static String hash(String text) throws GeneralSecurityException {
        return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(text.getBytes(UTF_8)));
    }

    private static byte[] sign(byte[] key, String text) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(UTF_8));
    }
}

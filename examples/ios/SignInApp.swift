// A SwiftUI app that signs in with Apple at siwa-proxy: nonce, code, keychain, refresh, sign-out, account deletion.
//
// One file, for iOS 16 and later. Make an app in Xcode, replace its App file by this one, add the capability "Sign in with
// Apple", and set `Server.url`. The repository's tests check its syntax only: no Swift compiler has seen it there.
//
// The proxy needs `sign_in.path = "/auth/apple"`, `[sessions]` for tokens that last, and the bundle id in
// `apple.client_ids`; for deletion to reach Apple also the team's key in `[apple]`.

import AuthenticationServices
import CryptoKit
import Foundation
import Security
import SwiftUI

/// Where siwa-proxy is, in front of your application.
enum Server {
  static let url = URL(string: "https://api.example.com")!
  static let signInPath = "auth/apple"
}

// MARK: - The app

@main
struct SignInApp: App {
  @StateObject private var account = Account()

  var body: some Scene {
    WindowGroup {
      RootView()
        .environmentObject(account)
        .task { await account.start() }
        .onReceive(NotificationCenter.default.publisher(for: Account.credentialRevoked)) { _ in
          Task { await account.appleTookItBack() }
        }
    }
  }
}

struct RootView: View {
  @EnvironmentObject private var account: Account

  var body: some View {
    VStack(spacing: 24) {
      if let user = account.user {
        SignedInView(user: user)
      } else {
        SignedOutView()
      }
      if let complaint = account.complaint {
        Text(complaint).font(.footnote).foregroundStyle(.secondary)
      }
    }
    .padding()
  }
}

struct SignedOutView: View {
  @EnvironmentObject private var account: Account
  @Environment(\.colorScheme) private var colorScheme

  var body: some View {
    if let nonce = account.nonce {
      SignInWithAppleButton(.continue) { request in
        request.requestedScopes = [.fullName, .email]
        // Apple repeats this in the token. The proxy knows the nonce that it gave by itself and by its hash.
        request.nonce = Self.hexDigest(of: nonce)
      } onCompletion: { result in
        Task { await account.finish(result, nonce: nonce) }
      }
      .signInWithAppleButtonStyle(colorScheme == .dark ? .white : .black)
      .frame(height: 48)
    } else {
      ProgressView("Connecting")
      Button("Try again") { Task { await account.prepare() } }
    }
  }

  private static func hexDigest(of text: String) -> String {
    SHA256.hash(data: Data(text.utf8)).map { String(format: "%02x", $0) }.joined()
  }
}

struct SignedInView: View {
  let user: User
  @EnvironmentObject private var account: Account
  @State private var greeting = ""
  @State private var isDeleting = false

  var body: some View {
    Text(user.email ?? user.id).font(.headline)
    Text(greeting)
    Button("Call the application") {
      Task { greeting = await account.call("hello") ?? greeting }
    }
    Button("Sign out") { Task { await account.signOut() } }
    // App Review Guideline 5.1.1(v): an app that makes accounts offers to delete them, from within the app.
    Button("Delete account", role: .destructive) { isDeleting = true }
      .confirmationDialog("Delete your account?", isPresented: $isDeleting, titleVisibility: .visible) {
        Button("Delete", role: .destructive) { Task { await account.delete() } }
      } message: {
        Text("This app forgets you, and Apple is told that you have stopped using it.")
      }
  }
}

// MARK: - What the views show

/// Who is signed in, if anybody, and what the buttons do.
@MainActor
final class Account: ObservableObject {
  static let credentialRevoked = ASAuthorizationAppleIDProvider.credentialRevokedNotification

  @Published private(set) var user: User?
  @Published private(set) var nonce: String?
  @Published private(set) var complaint: String?

  private let client = Client()

  /// Takes up the session of last time, if Apple still knows the user.
  func start() async {
    guard let kept = await client.user else { return await prepare() }
    user = kept
    let provider = ASAuthorizationAppleIDProvider()
    let state = try? await provider.credentialState(forUserID: kept.id)
    if state == .revoked || state == .notFound { await appleTookItBack() }
  }

  /// Gets the nonce for the next sign-in, so that the button can be tapped. It is good once, and for some minutes.
  func prepare() async {
    await attempt { self.nonce = try await self.client.makeNonce() }
  }

  /// What Apple's sheet came to.
  func finish(_ result: Result<ASAuthorization, Error>, nonce: String) async {
    self.nonce = nil
    switch result {
    case .success(let authorization):
      guard let apple = authorization.credential as? ASAuthorizationAppleIDCredential else { break }
      let credential = Credential(apple)
      await attempt { self.user = try await self.client.signIn(credential, nonce: nonce) }
    case .failure(let error as ASAuthorizationError) where error.code == .canceled:
      break
    case .failure(let error):
      complaint = error.localizedDescription
    }
    if user == nil { await prepare() }
  }

  /// Asks the application something as whoever is signed in.
  func call(_ path: String) async -> String? {
    var answer: String?
    await attempt { answer = String(decoding: try await self.client.call(path), as: UTF8.self) }
    return answer
  }

  /// Ends this session, here and at the proxy.
  func signOut() async {
    await attempt { try await self.client.signOut() }
    await forget()
  }

  /// Deletes the account. Only when the proxy says that it did is it gone here.
  func delete() async {
    await attempt {
      try await self.client.deleteAccount()
      await self.forget()
    }
  }

  /// The user has stopped using the app in the system's settings.
  func appleTookItBack() async {
    await client.forget()
    await forget()
  }

  private func forget() async {
    user = nil
    await prepare()
  }

  private func attempt(_ step: () async throws -> Void) async {
    complaint = nil
    do {
      try await step()
    } catch Client.Fault.signedOut {
      user = nil
      complaint = "Please sign in again."
      nonce = try? await client.makeNonce()
    } catch {
      // The network, or a server that could not judge: whoever is signed in stays so.
      complaint = error.localizedDescription
    }
  }
}

// MARK: - What goes over the wire

struct User: Codable, Equatable {
  /// Apple's `sub`: stable, and the only thing to know somebody by. Addresses change, and may be missing.
  let id: String
  let email: String?
}

/// What Apple gave the app, as text.
struct Credential: Sendable {
  let subject: String
  let identityToken: String?
  let authorizationCode: String?
  /// Given and family name, the first time only.
  let name: [String]?

  init(_ apple: ASAuthorizationAppleIDCredential) {
    subject = apple.user
    identityToken = apple.identityToken.map { String(decoding: $0, as: UTF8.self) }
    authorizationCode = apple.authorizationCode.map { String(decoding: $0, as: UTF8.self) }
    let parts = [apple.fullName?.givenName, apple.fullName?.familyName]
    name = parts.contains { $0 != nil } ? parts.map { $0 ?? "" } : nil
  }
}

/// What siwa-proxy answers to a sign-in and to a refresh.
private struct Session: Codable {
  let user: User?
  let accessToken: String
  let refreshToken: String
  let expiresIn: Double
}

/// What is kept between starts.
private struct Kept: Codable {
  var user: User
  var accessToken: String
  var refreshToken: String
  var expires: Date

  init(_ session: Session, of user: User) {
    self.user = user
    accessToken = session.accessToken
    refreshToken = session.refreshToken
    expires = Date(timeIntervalSinceNow: session.expiresIn)
  }
}

/// Speaks with siwa-proxy, and keeps the session in the keychain. An actor, so that two refreshes cannot cross: a refresh
/// token is good once, and one that comes twice ends the session.
actor Client {
  enum Fault: LocalizedError {
    /// The session has ended. Whoever it was can sign in again.
    case signedOut
    case status(Int, String?)

    var errorDescription: String? {
      switch self {
      case .signedOut: return "The session has ended."
      case .status(let status, let code): return "The server said \(status) \(code ?? "")."
      }
    }
  }

  private var kept: Kept? = Keychain.load(Kept.self, from: "session")
  private var refreshing: Task<Kept, Error>?

  var user: User? { kept?.user }

  /// A nonce that the proxy will know again, once.
  func makeNonce() async throws -> String {
    struct Answer: Decodable { let nonce: String }
    let data = try await send("POST", "\(Server.signInPath)/nonce", nil, bearer: nil)
    return try Self.decoder.decode(Answer.self, from: data).nonce
  }

  /// Trades what Apple gave for a session.
  func signIn(_ credential: Credential, nonce: String) async throws -> User {
    // Apple tells the name at the first sign-in and never again. Should this request fail, the next one has it still.
    let pending = "name.\(credential.subject)"
    if let name = credential.name { Keychain.save(name, as: pending) }
    let name = Keychain.load([String].self, from: pending)
    var body = ["nonce": nonce]
    body["identityToken"] = credential.identityToken
    body["authorizationCode"] = credential.authorizationCode
    body["givenName"] = name?.first
    body["familyName"] = name?.last
    let data = try await send("POST", Server.signInPath, body, bearer: nil)
    let session = try Self.decoder.decode(Session.self, from: data)
    let user = session.user ?? User(id: credential.subject, email: nil)
    keep(Kept(session, of: user))
    Keychain.delete(pending)
    return user
  }

  /// Asks the application behind the proxy.
  func call(_ path: String) async throws -> Data {
    do {
      return try await send("GET", path, nil, bearer: try await fresh().accessToken)
    } catch Fault.status(401, _) {
      // Revoked, or ended elsewhere, or our clock is wrong: the proxy says which when it is asked for new tokens.
      return try await send("GET", path, nil, bearer: try await refresh().accessToken)
    }
  }

  /// Ends the session at the proxy. Here it ends in any case.
  func signOut() async throws {
    defer { forget() }
    do {
      let session = try await fresh()
      let body = ["refresh_token": session.refreshToken]
      _ = try await send("POST", "\(Server.signInPath)/logout", body, bearer: session.accessToken)
    } catch Fault.signedOut {
      // It had ended already.
    }
  }

  /// Has Apple's tokens revoked and the application told. The refresh token holds what Apple has to be shown.
  func deleteAccount() async throws {
    let session = try await fresh()
    let body = ["refresh_token": session.refreshToken]
    _ = try await send("DELETE", "\(Server.signInPath)/account", body, bearer: session.accessToken)
    forget()
  }

  func forget() {
    kept = nil
    Keychain.delete("session")
  }

  private func keep(_ session: Kept) {
    kept = session
    Keychain.save(session, as: "session")
  }

  /// A session whose access token is good for another half minute.
  private func fresh() async throws -> Kept {
    guard let kept else { throw Fault.signedOut }
    return kept.expires > Date(timeIntervalSinceNow: 30) ? kept : try await refresh()
  }

  /// New tokens for old. Whoever comes while somebody refreshes waits for the same ones.
  private func refresh() async throws -> Kept {
    if let refreshing { return try await refreshing.value }
    let task = Task { try await exchangeRefreshToken() }
    refreshing = task
    defer { refreshing = nil }
    return try await task.value
  }

  private func exchangeRefreshToken() async throws -> Kept {
    guard let kept else { throw Fault.signedOut }
    do {
      let body = ["refresh_token": kept.refreshToken]
      let data = try await send("POST", "\(Server.signInPath)/refresh", body, bearer: nil)
      let renewed = Kept(try Self.decoder.decode(Session.self, from: data), of: kept.user)
      keep(renewed)
      return renewed
    } catch Fault.status(401, _) {
      // The one answer that ends a session. A 503 means that nobody could tell.
      forget()
      throw Fault.signedOut
    }
  }

  private func send(
    _ method: String, _ path: String, _ body: [String: String]?, bearer: String?
  ) async throws -> Data {
    var request = URLRequest(url: Server.url.appendingPathComponent(path))
    request.httpMethod = method
    request.setValue("application/json", forHTTPHeaderField: "Accept")
    if let body {
      request.httpBody = try JSONEncoder().encode(body)
      request.setValue("application/json", forHTTPHeaderField: "Content-Type")
    }
    if let bearer { request.setValue("Bearer \(bearer)", forHTTPHeaderField: "Authorization") }
    let (data, response) = try await Self.session.data(for: request)
    let status = (response as? HTTPURLResponse)?.statusCode ?? 0
    guard (200..<300).contains(status) else {
      struct Refusal: Decodable { let code: String? }
      throw Fault.status(status, (try? JSONDecoder().decode(Refusal.self, from: data))?.code)
    }
    return data
  }

  /// Nothing of this is written to a cache on disk.
  private static let session = URLSession(configuration: .ephemeral)

  private static let decoder: JSONDecoder = {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return decoder
  }()
}

// MARK: - The keychain

/// Values as JSON, on this device only.
enum Keychain {
  private static func query(_ name: String) -> [CFString: Any] {
    [kSecClass: kSecClassGenericPassword, kSecAttrService: "siwa-proxy", kSecAttrAccount: name]
  }

  static func save<Value: Encodable>(_ value: Value, as name: String) {
    guard let data = try? JSONEncoder().encode(value) else { return }
    delete(name)
    var item = query(name)
    item[kSecValueData] = data
    item[kSecAttrAccessible] = kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly
    SecItemAdd(item as CFDictionary, nil)
  }

  static func load<Value: Decodable>(_ type: Value.Type, from name: String) -> Value? {
    var wanted = query(name)
    wanted[kSecReturnData] = true
    var found: CFTypeRef?
    guard SecItemCopyMatching(wanted as CFDictionary, &found) == errSecSuccess else { return nil }
    return (found as? Data).flatMap { try? JSONDecoder().decode(type, from: $0) }
  }

  static func delete(_ name: String) {
    SecItemDelete(query(name) as CFDictionary)
  }
}
